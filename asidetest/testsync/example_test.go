package testsync_test

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/asidecache/aside/asidetest/testsync"
)

// t stands for the *testing.T of your test, which examples have not.
var t testing.TB = noTest{}

type noTest struct{ testing.TB }

func (noTest) Helper()        {}
func (noTest) Cleanup(func()) {}

// A test that holds one goroutine at a point of its way, and looks meanwhile.
func ExampleGate() {
	var stored atomic.Bool
	gate := testsync.NewGate(t)
	done := testsync.Async(func() error {
		gate.Pass("before the store") // in your program: a hook or a fake that calls it
		stored.Store(true)
		return nil
	})

	fmt.Println("held", testsync.Await(t, "the store", gate.Arrived), "- stored:", stored.Load())
	gate.Open()
	fmt.Println("ended:", testsync.Await(t, "the end", done), "- stored:", stored.Load())
	// Output:
	// held before the store - stored: false
	// ended: <nil> - stored: true
}

// A condition that others bring about, with no sleep of a guessed length.
func ExampleEventually() {
	var count atomic.Int64
	for range 10 {
		go count.Add(1)
	}
	testsync.Eventually(t, "all ten have counted", func() bool { return count.Load() == 10 })
	fmt.Println(count.Load())
	// Output: 10
}
