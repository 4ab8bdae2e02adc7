package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
)

// maxReadiness is how much of a server's /readyz is read.
const maxReadiness = 64 << 10

// addedLatency asks the server of the records at url what latency is added to its store
// (--store-latency), since a report must say it. It returns "" if none is, or the server
// is not one of aside.
func addedLatency(ctx context.Context, url string) string {
	base, isTodos := strings.CutSuffix(strings.TrimSuffix(url, "/"), "/todos")
	if !isTodos {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, reachTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/readyz", nil)
	if err != nil {
		return ""
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return ""
	}
	defer resp.Body.Close()
	var state struct {
		Store struct {
			AddedLatency string `json:"added_latency"`
		} `json:"store"`
	}
	if json.NewDecoder(io.LimitReader(resp.Body, maxReadiness)).Decode(&state) != nil {
		return ""
	}
	return state.Store.AddedLatency
}
