// Package front is what may stand between a device and its server: an HTTP front
// before VictoriaMetrics that is a captive portal, a queue, a store of which one
// half is late, a proxy that repeats, or one that breaks the rules of HTTP. A test
// switches it from one mode to the next while requests come in.
//
// It promises that a request is answered by the mode that was set when it came,
// that the tally of a mode counts every request which that mode has met, and that
// nothing of it is left when the test ends. What a mode does not speak of goes to
// the server unchanged.
package front
