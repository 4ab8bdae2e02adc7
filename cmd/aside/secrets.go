package main

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
)

// maxSecret is the largest size of a file with a password or URL, in bytes.
const maxSecret = 64 << 10

// readSecret reads the file that a flag names and drops the line break at its end.
// The error never contains the file's content.
func readSecret(flag, file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", fmt.Errorf("%s: %w", flag, err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	switch text := strings.TrimRight(string(b), "\r\n"); {
	case err != nil:
		return "", fmt.Errorf("%s: %w", flag, err)
	case len(b) > maxSecret:
		return "", fmt.Errorf("%s: %s is longer than %d bytes; the file must contain only the secret", flag, file, maxSecret)
	case text == "":
		return "", fmt.Errorf("%s: %s is empty", flag, file)
	case strings.ContainsAny(text, "\r\n\x00"):
		return "", fmt.Errorf("%s: %s has more than one line; the file must contain only the secret", flag, file)
	default:
		return text, nil
	}
}

// oneOf returns the value, or the content of its file. It refuses both at once.
func oneOf(flag, value, file string) (string, error) {
	switch {
	case file == "":
		return value, nil
	case value != "":
		return "", fmt.Errorf("give %s or %s-file, not both", flag, flag)
	}
	return readSecret(flag+"-file", file)
}

// withPassword puts the password from a file into a URL. The URL must not have a
// password, and must have a user if needsUser is set. example is a URL of the right form,
// for messages. It has no user: what is printed would hide it.
func withPassword(flag, rawURL, fileFlag, file, example string, needsUser bool) (string, error) {
	if file == "" {
		return rawURL, nil
	}
	if rawURL == "" {
		return "", fmt.Errorf("%s needs %s", fileFlag, flag)
	}
	password, err := readSecret(fileFlag, file)
	if err != nil {
		return "", err
	}
	scheme, rest, ok := strings.Cut(rawURL, "://")
	if !ok {
		return "", fmt.Errorf("%s has no scheme; write it like %s", flag, example)
	}
	user := ""
	if i := strings.LastIndexByte(rest, '@'); i >= 0 {
		user, rest = rest[:i], rest[i+1:]
	}
	switch {
	case strings.Contains(user, ":"):
		return "", fmt.Errorf("%s has a password and %s gives another one: remove one of them", flag, fileFlag)
	case user == "" && needsUser:
		return "", errors.New(flag + " must name the user of the password in " + fileFlag + ": put the user and an @ before the host")
	}
	escaped := strings.ReplaceAll(url.QueryEscape(password), "+", "%20") // %20 is valid in every part of a URL, + is not
	return scheme + "://" + user + ":" + escaped + "@" + rest, nil
}
