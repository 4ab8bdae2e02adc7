// Command aside serves, loads and demonstrates the todo service, the reference
// system of the aside library.
package main

func main() {}
