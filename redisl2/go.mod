module github.com/asidecache/aside/redisl2

go 1.25.0

// A replace has no effect on those who import this module.
replace github.com/asidecache/aside => ../

require (
	github.com/asidecache/aside v0.1.0
	github.com/redis/rueidis v1.0.79
)

require (
	github.com/golang/snappy v1.0.0 // indirect
	github.com/sony/gobreaker/v2 v2.4.0 // indirect
	github.com/stretchr/testify v1.12.1 // indirect
	golang.org/x/sys v0.47.0 // indirect
)
