package aside

// Flights returns the number of reads under way that can be joined.
func Flights[K comparable, V any](c *Cache[K, V]) int { return c.flights.Len() }

// Followers returns how many reads share the key's flight with its leader.
func Followers[K comparable, V any](c *Cache[K, V], k K) int { return c.flights.Followers(k) }

// Waiters returns the number of flights that wait for another node's lease.
func Waiters[K comparable, V any](c *Cache[K, V]) int { return int(c.waiters.n.Load()) }
