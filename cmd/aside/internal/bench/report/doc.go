// Package report writes the report of a load test as text, JSON, CSV files in the format
// of locust, or an HTML page.
//
// The columns have the same names as in locust, so that reports can be compared. One
// thing differs: latencies here are of successful requests, in locust of all requests.
package report
