package pgfeed

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestNewReportsAllFaults(t *testing.T) {
	_, err := New(Options{
		URL: "postgres://u:s3cret@[::1/db", Table: ".x", Slot: "Not-A-Slot", Publication: strings.Repeat("p", 64),
		KeepFor: time.Millisecond, Silence: -1, CreateTimeout: time.Microsecond, MaxChanges: -1,
	})
	if !errors.Is(err, ErrOptions) {
		t.Fatalf("New: %v", err)
	}
	for _, name := range []string{"URL", "Table", "Key", "Slot", "Publication", "KeepFor", "Silence", "CreateTimeout", "MaxChanges"} {
		if !strings.Contains(err.Error(), "options: "+name) {
			t.Errorf("%v does not name %s", err, name)
		}
	}
	if strings.Contains(err.Error(), "s3cret") {
		t.Errorf("a password in %v", err)
	}
	if _, err := New(Options{URL: "postgres://h/db", Table: "t", Key: "id", Version: "id"}); !errors.Is(err, ErrOptions) {
		t.Errorf("New with the key as version: %v", err)
	}
	if _, err := New(Options{Table: "t", Key: "id"}); err == nil || !strings.Contains(err.Error(), "URL is empty") {
		t.Errorf("New without a URL: %v", err)
	}
}

func TestDefaults(t *testing.T) {
	f, err := New(Options{URL: "postgres://u@h/db", Table: "todos", Key: "id"})
	if err != nil {
		t.Fatal(err)
	}
	o := f.opt
	if f.table.String() != "public.todos" || o.Slot != "aside_todos" || o.Publication != "aside_todos" || f.back() != "aside_todos_back" ||
		o.KeepFor != 2*time.Minute || o.MaxChanges != 50_000 || o.Silence != 10*time.Second || o.Logger == nil {
		t.Errorf("%+v", o)
	}
}

// Names of slots have at most 63 bytes of a-z, 0-9 and _, and the slots of two tables have four names.
func TestSlotNames(t *testing.T) {
	seen := map[string]table{}
	for _, tb := range []table{
		{"public", "todos"}, {"app", "todos"}, {"public", "Todos"}, {"public", "to.dos"}, {"public", "to dos"}, {"public", "tödos"},
		{"public", "app_todos"}, {"a", "b_c"}, {"a_b", "c"}, {"public", "todos_back"}, {"app", "todos_back"},
		{"public", strings.Repeat("x", 63)}, {"public", strings.Repeat("x", 62) + "y"},
	} {
		name := slotName(tb)
		if len(name)+len(backEnd) > maxName || strings.Map(slotRune, name) != name {
			t.Errorf("%v: %s", tb, name)
		}
		for _, name := range []string{name, name + backEnd} {
			if other, ok := seen[name]; ok {
				t.Errorf("%v and %v: %s", tb, other, name)
			}
			seen[name] = tb
		}
	}
	// A new name leaves the old slots behind, so these stay.
	for tb, want := range map[table]string{
		{"public", "todos"}: "aside_todos", {"public", "app_todos"}: "aside_app_todos",
		{"app", "todos"}: "aside_app_todos_22113099",
	} {
		if name := slotName(tb); name != want {
			t.Errorf("%v: %s, want %s", tb, name, want)
		}
	}
}
