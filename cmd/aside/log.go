package main

import (
	"io"
	"log/slog"
	"os"

	"golang.org/x/term"
)

// LogFlags configure the log. It goes to standard error.
type LogFlags struct {
	LogLevel  slog.Level `help:"Minimum log level: debug (one line per request), info, warn or error." default:"info" env:"ASIDE_LOG_LEVEL" group:"Log"`
	LogFormat string     `help:"Log format: text, json, or auto (text on a terminal, JSON elsewhere)." enum:"auto,text,json" default:"auto" env:"ASIDE_LOG_FORMAT" group:"Log"`
}

func (f *LogFlags) logger(w io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: f.LogLevel}
	file, ok := w.(*os.File)
	if f.LogFormat == "text" || f.LogFormat == "auto" && ok && term.IsTerminal(int(file.Fd())) {
		return slog.New(slog.NewTextHandler(w, options))
	}
	return slog.New(slog.NewJSONHandler(w, options))
}
