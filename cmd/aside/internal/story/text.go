package story

import "fmt"

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func servers(n int) string { return count(n, "server") }
