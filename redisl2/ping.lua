#!lua
-- Without flags in the line above, the server runs a script only if it could
-- write now: it is a master, has memory, can save, and has its replicas.
return 'PONG'
