// Package browser has tests that open the pages of aside bench in a real browser. It has no
// other code. It is separate so that the other tests of the reports do not wait for
// Chromium.
package browser
