package ship

import (
	"fmt"

	"belabox-metrics/shared/logx"
	"belabox-metrics/shared/store"
)

// A chunk in flight is a state machine. This file is its whole table; DESIGN.md has the picture.
// The loop takes the chunks that are due, does one step with each, and records what came of it by
// move.

// state is how far a chunk has come.
type state uint8

const (
	none      state = iota // not recorded yet
	recorded               // on the disk; the server has nothing of it
	sending                // a request with it is under way
	inDoubt                // the request ended; the server may have some of it
	accepted               // answered 2xx; to be read back
	missing                // an answer lacks samples, with a witness: a second one must agree
	unseen                 // an answer lacks samples, without a witness: wait
	owed                   // its samples are lost, and go out again
	verified               // read back, all of it
	rejected               // dead letters
	withdrawn              // its rows are pending as if it had never been, or gone from the file
	freed                  // deleted because the file is full; accepted and not proven
	states
)

func (s state) String() string {
	return [states]string{
		"none", "recorded", "sending", "in doubt", "accepted", "missing", "unseen", "owed",
		"verified", "rejected", "withdrawn", "freed",
	}[s]
}

// settled reports whether nothing more can happen to the chunk.
func (s state) settled() bool { return s >= verified }

// event is what happens to a chunk.
type event uint8

const (
	evRecord  event = iota // its body is made
	evStart                // the program starts, or reads the file again after an error of the store, and finds it
	evSend                 // its request begins
	evTaken                // 2xx
	evNothing              // an answer, or a failure, that rules out that anything was stored
	evUnknown              // any other end of a request
	evBlamed               // something speaks against its content, and the server has nothing of it
	evProved               // a read-back shows all of it
	evLacking              // a read-back lacks samples, with a witness
	evSilent               // a read-back lacks samples, without one
	evSplit                // it was a part of a chunk of which only some samples have a witness
	evLost                 // a second read-back lacks them
	evExpired              // it was unseen for too long, and its series have ended
	evNever                // it was unseen for too long, and its series never show
	evAssumed              // verification is off, and the delay is over
	evRefused              // the server, or we, have given up on all that is left of it
	evDivided              // its rows go out in smaller chunks
	evGone                 // none of its rows is in the file any more
	evFreed                // the file is full
	events
)

func (e event) String() string {
	return [events]string{
		"record", "start", "send", "taken", "nothing stored", "unknown", "blamed", "proved", "lacking", "silent", "split",
		"lost", "expired", "never shown", "assumed", "refused", "divided", "gone", "freed",
	}[e]
}

// transition is a row of the table.
type transition struct {
	from state
	on   event
	to   state
	// writes is the transaction that records it, a method of store.Outbox; "" = nothing is written,
	// because the file says enough already.
	writes string
	// crash is what the next start makes of a kill, or a power cut, before the transaction is on the
	// disk.
	crash string
}

// transitions are all there are.
var transitions = []transition{
	{none, evRecord, recorded, "RecordSending, synced", "the rows are plain pending rows"},
	{none, evStart, inDoubt, "", ""},
	{none, evStart, accepted, "", ""},
	{none, evStart, owed, "", ""},

	{recorded, evSend, sending, "", "in doubt: the file cannot tell it from one that was sent"},
	{owed, evSend, sending, "RecordSending, synced", "owed; nothing has left"},
	{recorded, evBlamed, owed, "Requeue", "in doubt, and the search for the bad sample begins anew"},
	{recorded, evDivided, withdrawn, "Withdraw", "in doubt"},
	{recorded, evGone, withdrawn, "Withdraw", "in doubt"},

	{sending, evTaken, accepted, "MarkAllUploaded, or MarkUploaded for a part", "in doubt"},
	{sending, evNothing, recorded, "", "in doubt"},
	{sending, evUnknown, inDoubt, "", "in doubt"},
	{sending, evRefused, rejected, "MarkUploaded", "in doubt"},

	{inDoubt, evProved, verified, "MarkVerified", "in doubt, and proved again"},
	{inDoubt, evLacking, missing, "Narrow", "in doubt"},
	{inDoubt, evSilent, unseen, "Narrow", "in doubt"},
	{inDoubt, evAssumed, recorded, "", "in doubt"},
	{inDoubt, evGone, withdrawn, "Withdraw", "in doubt"},

	{accepted, evProved, verified, "MarkVerified", "accepted, and proved again"},
	{accepted, evLacking, missing, "Narrow", "accepted"},
	{accepted, evSilent, unseen, "Narrow", "accepted"},
	{accepted, evAssumed, verified, "MarkVerified", "accepted"},
	{accepted, evGone, withdrawn, "Withdraw", "accepted"},
	{accepted, evFreed, freed, "EnforceBudget", "accepted"},

	{none, evSplit, unseen, "Split", "the whole chunk is accepted or in doubt"},

	{missing, evProved, verified, "MarkVerified", "accepted or in doubt"},
	{missing, evLost, owed, "Requeue", "accepted or in doubt: two more answers are needed"},
	{missing, evGone, withdrawn, "Withdraw", "accepted or in doubt"},
	{missing, evFreed, freed, "EnforceBudget", "accepted"},

	{unseen, evProved, verified, "MarkVerified", "accepted or in doubt"},
	{unseen, evLacking, missing, "Narrow", "accepted or in doubt"},
	{unseen, evSilent, unseen, "Narrow", "accepted or in doubt"},
	{unseen, evExpired, owed, "Requeue", "accepted or in doubt: the time begins anew"},
	{unseen, evNever, rejected, "MarkUploaded", "accepted: the time begins anew"},
	{unseen, evGone, withdrawn, "Withdraw", "accepted or in doubt"},
	{unseen, evFreed, freed, "EnforceBudget", "accepted"},

	{owed, evRefused, rejected, "MarkUploaded", "owed"},
	{owed, evDivided, withdrawn, "Withdraw", "owed"},
	{owed, evGone, withdrawn, "Withdraw", "owed"},
}

// step is a transition without its texts.
type step struct {
	from state
	on   event
	to   state
}

var known = func() map[step]bool {
	all := map[step]bool{}
	for _, t := range transitions {
		all[step{t.from, t.on, t.to}] = true
	}
	return all
}()

// inFile returns the state in which a start finds a chunk that the file has.
func inFile(c *store.Chunk) state {
	switch c.State {
	case store.Accepted:
		return accepted
	case store.Requeued:
		return owed
	}
	return inDoubt
}

// move takes a chunk to its next state, after the transaction that records it. A transition that is
// not in the table is a defect: tests fail, and the daemon logs it and continues, since the file is
// right whatever the name of the state.
func (s *Shipper) move(c *inflight, on event, to state) {
	taken := step{c.state, on, to}
	if !known[taken] {
		s.Log.Error("chunk made a transition that is not in the table", logx.KeyBatchID, c.BatchID,
			"transition", fmt.Sprintf("%s on %q to %s", taken.from, taken.on, taken.to))
	}
	if s.moved != nil {
		s.moved(taken)
	}
	switch {
	case taken.from == none:
		s.chunks.add(c)
	case to.settled():
		s.chunks.remove(c)
	}
	c.state = to
}
