// Package browser holds the test that opens the documentation page in a real
// browser. It has no code of its own, and is apart from httpapi so that the
// other tests do not wait for Chromium.
package browser
