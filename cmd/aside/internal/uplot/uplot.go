// Package uplot has uPlot, the library that draws the charts of the pages. It is embedded,
// so the pages need no network. fetch.sh downloads it.
package uplot

import _ "embed"

var (
	//go:embed uplot.min.js
	script string
	//go:embed uplot.min.css
	style string
	//go:embed LICENSE
	license string
)

// Script returns the library with its licence. It defines the global variable uPlot.
func Script() string { return "/*\n" + license + "\n*/\n" + script }

// Style returns the style sheet that the library needs.
func Style() string { return style }
