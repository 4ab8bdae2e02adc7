package redisl2

import (
	"context"
	"strconv"
	"strings"

	"github.com/redis/rueidis"
)

// infoOf asks a server for a section of INFO. The right to ask may be missing.
func infoOf(ctx context.Context, n rueidis.Client, section string) (map[string]string, error) {
	text, err := n.Do(ctx, n.B().Info().Section(section).Build()).ToString()
	if err != nil {
		return nil, err
	}
	return readInfo(text), nil
}

// readInfo reads lines such as
//
//	run_id:0e5d...
func readInfo(text string) map[string]string {
	m := map[string]string{}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		m[name] = value
	}
	return m
}

// number returns a number of INFO; 0 if it is not there.
func number(info map[string]string, name string) uint64 {
	n, err := strconv.ParseUint(info[name], 10, 64)
	if err != nil {
		return 0
	}
	return n
}
