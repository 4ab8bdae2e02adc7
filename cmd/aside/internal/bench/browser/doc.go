// Package browser holds the tests that open the pages of aside bench in a real
// browser. It has no code of its own, and is apart from the reports so that
// their other tests do not wait for Chromium.
package browser
