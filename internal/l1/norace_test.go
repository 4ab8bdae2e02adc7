//go:build !race

package l1

const raced = false
