// Package report writes down what a load test measured: as text and as JSON, as
// CSV files of locust's format, and as a page for a browser.
//
// Columns are named as locust names them, so that reports can be read side by
// side. One thing differs: our latencies are those of the requests that
// succeeded, locust's of all.
package report
