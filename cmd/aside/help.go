package main

import (
	"fmt"
	"go/doc/comment"
	"os"
	"strconv"
	"strings"

	"github.com/alecthomas/kong"
	"golang.org/x/term"
)

// What a command prints before its flags fits a terminal of 24 lines and 80 columns: the
// usage line, its Help with examples that work as they stand, and nothing else. What else
// there is to say stands after the flags: a method Notes.

// printHelp prints the help of a command. A command that has a method Usage replaces
// the usage line: kong's cannot say that flags exclude each other, or stand after --.
func printHelp(options kong.HelpOptions, ctx *kong.Context) error {
	node := ctx.Selected()
	if node == nil || !node.Target.CanAddr() {
		return kong.DefaultHelpPrinter(options, ctx)
	}
	out := ctx.Stdout
	defer func() { ctx.Stdout = out }()
	var text strings.Builder
	ctx.Stdout = &text
	if err := kong.DefaultHelpPrinter(options, ctx); err != nil {
		return err
	}
	usage, rest, _ := strings.Cut(text.String(), "\n\n") // the usage line may be wrapped
	command := node.Target.Addr().Interface()
	if c, ok := command.(interface{ Usage() string }); ok {
		usage = fmt.Sprintf("Usage: %s %s %s", ctx.Model.Name, node.Path(), c.Usage())
	}
	if c, ok := command.(interface{ Notes() string }); ok {
		rest += "\n" + wrapped(c.Notes(), helpWidth(options.WrapUpperBound))
	}
	_, err := fmt.Fprintf(out, "%s\n\n%s", usage, rest)
	return err
}

// wrapped formats text as kong formats the rest: indented lines stay as they are.
func wrapped(text string, width int) string {
	var p comment.Parser
	printer := comment.Printer{TextWidth: width, TextCodePrefix: "    "}
	return string(printer.Text(p.Parse(text)))
}

// helpWidth is the width of the terminal, at most limit.
func helpWidth(limit int) int {
	width := 80
	if n, err := strconv.Atoi(os.Getenv("COLUMNS")); err == nil && n > 0 {
		width = n
	} else if n, _, err := term.GetSize(int(os.Stdout.Fd())); err == nil && n > 0 {
		width = n
	}
	return min(width, limit)
}
