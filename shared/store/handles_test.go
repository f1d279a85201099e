package store

import (
	"reflect"
	"slices"
	"strings"
	"testing"
)

// TestHandles_DutiesAreSplit looks at what the two handles take and are called:
// the inserter can only add samples, the outbox can add none.
func TestHandles_DutiesAreSplit(t *testing.T) {
	t.Parallel()
	var (
		samples  = []any{Sample{}, Series{}, InsertResult{}}
		delivery = []any{Chunk{}, KeySet{}, Key(0), Rejection{}, Row{}, DeadLetter{}, Ledger{}}
	)
	f := func(handle any, not []any, verbs ...string) {
		t.Helper()
		typ := reflect.TypeOf(handle)
		if typ.NumMethod() == 0 {
			t.Errorf("%v has no methods", typ)
		}
		for method := range typ.Methods() {
			for _, part := range signature(method.Type) {
				if slices.ContainsFunc(not, func(v any) bool { return reflect.TypeOf(v) == part }) {
					t.Errorf("%v.%s deals with %v", typ, method.Name, part)
				}
			}
			for _, verb := range verbs {
				if strings.Contains(method.Name, verb) {
					t.Errorf("%v has a method %s", typ, method.Name)
				}
			}
		}
		for field := range typ.Elem().Fields() {
			if field.IsExported() {
				t.Errorf("%v has an exported field %s: a way around its methods", typ, field.Name)
			}
		}
	}
	f((*Inserter)(nil), delivery, "Mark", "Delete", "Prune", "MoveTo", "Pending", "Chunk", "Requeue", "Withdraw", "Drop", "DB")
	f((*Outbox)(nil), samples, "Insert", "Sample", "DB")
}

// signature returns the types a method takes and returns, without pointers and
// slices around them. A KeySet is itself a slice and stays one.
func signature(method reflect.Type) (parts []reflect.Type) {
	add := func(typ reflect.Type) {
		for typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Slice && typ.Name() == "" {
			typ = typ.Elem()
		}
		parts = append(parts, typ)
	}
	for in := range method.Ins() {
		add(in)
	}
	for out := range method.Outs() {
		add(out)
	}
	return parts
}

func TestSignature(t *testing.T) {
	t.Parallel()
	got := signature(reflect.TypeFor[func([]Sample, *Series, ...*Chunk) (KeySet, []Row)]())
	want := []reflect.Type{
		reflect.TypeFor[Sample](), reflect.TypeFor[Series](), reflect.TypeFor[Chunk](), reflect.TypeFor[KeySet](), reflect.TypeFor[Row](),
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
