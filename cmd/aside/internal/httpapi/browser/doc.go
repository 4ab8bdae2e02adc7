// Package browser has the test that opens the documentation page in a real browser. It has
// no other code. It is separate so that the other tests of httpapi do not wait for
// Chromium.
package browser
