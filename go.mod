module github.com/asidecache/aside

go 1.26
