package pgstore

import "testing"

// A slot has a second one of the same name with _back behind it.
func TestSlotsOfCachesDiffer(t *testing.T) {
	seen := map[string]string{}
	for _, cache := range []string{"todos", "todos_back", "Todos", "to-dos"} {
		for _, name := range []string{slotOf(cache), slotOf(cache) + "_back"} {
			if other, ok := seen[name]; ok {
				t.Errorf("%s and %s: %s", cache, other, name)
			}
			seen[name] = cache
		}
	}
	if name := slotOf("todos"); name != "aside_todos" {
		t.Error(name)
	}
}
