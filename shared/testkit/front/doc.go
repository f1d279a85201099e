// Package front is an HTTP server between a device and VictoriaMetrics: a captive portal, a queue,
// a server of which one half is late, a proxy that repeats requests, or one that violates HTTP. A
// test switches its mode while requests arrive.
//
// It promises that a request is answered by the mode that was set when it arrived, that the tally
// of a mode counts every request in that mode, and that nothing of it is left when the test ends.
// Other requests are forwarded unchanged.
package front
