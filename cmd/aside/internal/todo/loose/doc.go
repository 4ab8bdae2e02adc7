// Package loose reads a todo from fields of any type, as other systems wrote them. The
// MongoDB store and a load use the same rules. So every record that is served can be
// restored, and every record that is loaded can be served.
//
// A record needs exactly one id, a text that todo.CheckID accepts. Every other field is
// converted if its meaning is clear: the number 1 is true, and a text in the form of RFC
// 3339 is a date. Otherwise it counts as absent. The caller is told about each such field.
package loose
