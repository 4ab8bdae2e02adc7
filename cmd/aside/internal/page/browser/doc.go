// Package browser has the tests that open the page in a real browser, with a service whose
// dashboard, operators' calls and story are played by the tests. It has no other code. It is
// separate so that the other tests of the page do not wait for Chromium.
package browser
