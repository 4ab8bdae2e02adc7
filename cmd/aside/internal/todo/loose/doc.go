// Package loose reads a todo from fields of whatever type, as other systems wrote
// them. MongoDB's store shows records by these rules and a load takes records by
// them, so that what is served can be restored, and what is loaded can be served.
//
// A record needs an id: text that todo.CheckID accepts, once. Every other field is
// read where it has a plain meaning (the number 1 as true, text in the form of RFC
// 3339 as a date) and is as if absent where it has none, and whoever reads is told
// of it.
package loose
