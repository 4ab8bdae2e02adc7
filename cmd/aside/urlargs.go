package main

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strings"

	"github.com/alecthomas/kong"
)

// hostAndPort is how people write the address of a server without http://.
var hostAndPort = regexp.MustCompile(`^(\[[0-9a-fA-F:]+\]|[\w.-]+):\d{1,5}(/|$)`)

// schemeOf returns the scheme of what looks like a URL, "" for other text.
func schemeOf(arg string) string {
	if scheme, _, ok := strings.Cut(arg, "://"); ok {
		return strings.ToLower(scheme)
	}
	if hostAndPort.MatchString(arg) {
		return "http"
	}
	return ""
}

// takenBy has the flags that take URLs of a scheme. Not each command has each.
var takenBy = map[string][]string{
	"http": {"url", "target", "admin"}, "https": {"url", "target", "admin"},
	"redis": {"redis"}, "rediss": {"redis"},
	"mongodb": {"mongo", "outside"}, "mongodb+srv": {"mongo", "outside"},
	"postgres": {"postgres", "outside"}, "postgresql": {"postgres", "outside"},
}

// flagFor returns the name of the flag of a command that takes a URL like this one; "" if
// it has none, or if it is no URL.
func flagFor(command *kong.Node, url string) string {
	for _, name := range takenBy[schemeOf(url)] {
		for _, f := range command.Flags {
			if f.Name == name && f.PlaceHolder != "HOST:PORT" { // as --admin of serve
				return name
			}
		}
	}
	return ""
}

// urlHint says how to give a URL to a command that was given as a plain argument, after
// the parser has refused the command line; "" if that was not the mistake.
func urlHint(err error) string {
	var parse *kong.ParseError
	if !errors.As(err, &parse) || parse.Context == nil || parse.Context.Selected() == nil {
		return ""
	}
	refused, ok := strings.CutPrefix(parse.Error(), "unexpected argument ")
	if !ok {
		return ""
	}
	refused, _, _ = strings.Cut(refused, ", did you mean")
	command := parse.Context.Selected()
	given := []string{refused}
	for _, p := range parse.Context.Path {
		if p.Positional == nil {
			continue
		}
		if v := parse.Context.Value(p); v.Kind() == reflect.String {
			given = append(given, v.String())
		}
	}
	for _, arg := range given {
		if flag := flagFor(command, arg); flag != "" {
			if !strings.Contains(arg, "://") {
				arg = "http://" + arg
			}
			return fmt.Sprintf("A URL is given with a flag: aside %s --%s %s", command.Name, flag, arg)
		}
	}
	return ""
}

// notAnID returns an error if the id of a todo is the URL of a server, unless servers are
// named too: an id can be any text.
func notAnID(k *kong.Context, id string) error {
	if !strings.Contains(id, "://") || flagFor(k.Selected(), id) == "" {
		return nil
	}
	for _, p := range k.Path {
		if p.Flag != nil && p.Flag.Name == "admin" {
			return nil
		}
	}
	return fmt.Errorf("%s is a URL, not an id: aside %s --admin %[1]s ID (if it is an id, name the server with --admin too)", id, k.Selected().Name)
}
