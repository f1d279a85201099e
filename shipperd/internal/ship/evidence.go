package ship

import (
	"belabox-metrics/shared/store"
)

// order records which request sent each series last, and the latest request of which the server
// has shown a sample of it. A sample is lost when the server lacks it and shows one of the same
// series that was sent later. With a frozen store, a queue, a wrong tenant or a renamed label the
// server shows no later one either.
//
// It takes eight bytes per series, and nothing is kept across a restart: everything that an
// earlier run has sent counts as sent by request 1.
type order struct {
	requests uint32   // so far
	newest   uint32   // the latest of them of which something was shown
	sent     []uint32 // by series id: the last request that carried it
	shown    []uint32 // by series id: the last request that carried a sample of it that was shown
}

// earlier is the number of all requests of earlier runs.
const earlier = 1

// next numbers a request. A later one begins after an earlier one ended.
func (o *order) next() uint32 {
	o.requests = max(o.requests, earlier) + 1
	return o.requests
}

// send notes that the last request carries these rows.
func (o *order) send(keys store.KeySet) {
	for _, k := range keys {
		raise(&o.sent, k.SeriesID(), o.requests)
	}
}

// show notes that the server has shown these rows of a request.
func (o *order) show(keys store.KeySet, request uint32) {
	if len(keys) == 0 {
		return
	}
	o.newest = max(o.newest, request)
	for _, k := range keys {
		raise(&o.shown, k.SeriesID(), request)
	}
}

// witness reports whether the server has shown a sample of the row's series that was sent later.
func (o *order) witness(k store.Key, request uint32) bool { return at(o.shown, k.SeriesID()) > request }

// ended reports whether no later request carried the row's series.
func (o *order) ended(k store.Key, request uint32) bool { return at(o.sent, k.SeriesID()) <= request }

// visible reports whether the server has shown anything that was sent with this request or later.
func (o *order) visible(request uint32) bool { return o.newest >= request }

func at(numbers []uint32, id int64) uint32 {
	if id < int64(len(numbers)) {
		return numbers[id]
	}
	return 0
}

func raise(numbers *[]uint32, id int64, to uint32) {
	if id >= int64(len(*numbers)) {
		*numbers = append(*numbers, make([]uint32, id+1-int64(len(*numbers)))...)
	}
	(*numbers)[id] = max((*numbers)[id], to)
}

// absent is what an answer lacks of a chunk, by what can be concluded.
type absent struct {
	witnessed store.KeySet // with a witness
	ended     store.KeySet // without, and none can come: the series was not sent since
	silent    store.KeySet // without: the series was sent since and has shown nothing of that yet
}

// judge sorts the rows that an answer lacks. A 4xx to the body is a witness for all of them,
// because it shows that the server has finished processing the body.
func (o *order) judge(c *inflight, keys store.KeySet, refused bool) (a absent) {
	for _, k := range keys {
		switch {
		case refused, o.witness(k, c.attempt):
			a.witnessed = append(a.witnessed, k)
		case o.ended(k, c.attempt):
			a.ended = append(a.ended, k)
		default:
			a.silent = append(a.silent, k)
		}
	}
	return a
}

// waiting are the rows without a witness.
func (a absent) waiting() store.KeySet { return append(a.ended, a.silent...).Sorted() }
