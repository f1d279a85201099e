package ship

import (
	"fmt"

	"belabox-metrics/shared/logx"
	"belabox-metrics/shared/store"
)

// An in-flight chunk is a state machine. This file is its complete table; DESIGN.md has the
// diagram. The loop takes the chunks that are due, does one step for each, and records the result
// with move.

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
	owed                   // its samples are lost, and are sent again
	verified               // read back, all of it
	rejected               // dead letters
	withdrawn              // its rows are plain pending rows again, or no longer in the file
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
	evRecord      event = iota // its body was built
	evStart                    // found at a start, or when the file is read again after a store error
	evSend                     // its request begins
	evTaken                    // 2xx
	evNothing                  // an answer, or a failure, that rules out that anything was stored
	evUnknown                  // any other end of a request
	evSuspected                // its content may be at fault, and the server has nothing of it
	evProved                   // a read-back shows all of it
	evWitnessed                // a read-back lacks samples, with a witness
	evUnwitnessed              // a read-back lacks samples, without one
	evSplit                    // it was a part of a chunk of which only some samples have a witness
	evLost                     // a second read-back lacks them
	evExpired                  // it was unseen for too long, and its series have ended
	evNever                    // it was unseen for too long, and its series never show
	evAssumed                  // verification is off, and the delay is over
	evRefused                  // the server, or we, have given up on all that is left of it
	evDivided                  // its rows are sent in smaller chunks
	evGone                     // none of its rows is in the file any more
	evFreed                    // the file is full
	events
)

func (e event) String() string {
	return [events]string{
		"record", "start", "send", "taken", "nothing stored", "unknown", "suspected", "proved",
		"absent, with a witness", "absent, without a witness", "split", "lost", "expired", "never shown", "assumed", "refused", "divided", "gone", "freed",
	}[e]
}

// transition is a row of the table.
type transition struct {
	from state
	on   event
	to   state
	// writes is the transaction that records it, a method of store.Outbox; "" = nothing is written,
	// because the file already has what is needed.
	writes string
	// crash is what the next start finds if a kill or a power cut happens before the transaction is
	// on the disk.
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
	{recorded, evSuspected, owed, "Requeue", "in doubt, and the search for the bad sample begins anew"},
	{recorded, evDivided, withdrawn, "Withdraw", "in doubt"},
	{recorded, evGone, withdrawn, "Withdraw", "in doubt"},

	{sending, evTaken, accepted, "MarkAllUploaded, or MarkUploaded for a part", "in doubt"},
	{sending, evNothing, recorded, "", "in doubt"},
	{sending, evUnknown, inDoubt, "", "in doubt"},
	{sending, evRefused, rejected, "MarkUploaded", "in doubt"},

	{inDoubt, evProved, verified, "MarkVerified", "in doubt, and proved again"},
	{inDoubt, evWitnessed, missing, "Narrow", "in doubt"},
	{inDoubt, evUnwitnessed, unseen, "Narrow", "in doubt"},
	{inDoubt, evAssumed, recorded, "", "in doubt"},
	{inDoubt, evGone, withdrawn, "Withdraw", "in doubt"},

	{accepted, evProved, verified, "MarkVerified", "accepted, and proved again"},
	{accepted, evWitnessed, missing, "Narrow", "accepted"},
	{accepted, evUnwitnessed, unseen, "Narrow", "accepted"},
	{accepted, evAssumed, verified, "MarkVerified", "accepted"},
	{accepted, evGone, withdrawn, "Withdraw", "accepted"},
	{accepted, evFreed, freed, "EnforceBudget", "accepted"},

	{none, evSplit, unseen, "Split", "the whole chunk is accepted or in doubt"},

	{missing, evProved, verified, "MarkVerified", "accepted or in doubt"},
	{missing, evLost, owed, "Requeue", "accepted or in doubt: two more answers are needed"},
	{missing, evGone, withdrawn, "Withdraw", "accepted or in doubt"},
	{missing, evFreed, freed, "EnforceBudget", "accepted"},

	{unseen, evProved, verified, "MarkVerified", "accepted or in doubt"},
	{unseen, evWitnessed, missing, "Narrow", "accepted or in doubt"},
	{unseen, evUnwitnessed, unseen, "Narrow", "accepted or in doubt"},
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

// move takes a chunk to its next state, after the transaction that records it. A transition that
// is not in the table is a defect: tests fail, and the daemon logs it and continues, because the
// file is correct whatever the name of the state.
func (s *Shipper) move(c *inflight, on event, to state) {
	taken := step{c.state, on, to}
	if !known[taken] {
		s.Log.Error("chunk made a transition that is not in the table", logx.KeyBatchID, c.BatchID,
			"transition", fmt.Sprintf("%s on %q to %s", taken.from, taken.on, taken.to))
	}
	if s.moved != nil {
		s.moved(c, taken)
	}
	switch {
	case taken.from == none:
		s.chunks.add(c)
	case to.settled():
		s.chunks.remove(c)
	}
	c.state = to
}
