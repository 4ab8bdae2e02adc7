/* A change past aside, without a fence, and how the cache learns of it. */

#ifdef FEED

/* A feed of changes, which the library does not have: every node reads the primary's changes in their order and tells Redis
   of each version. A value older than that is dropped, and any lease; a fence remembers the version, and only a record as
   new may be published. Then the node drops what its own L1 has, unless that is as new. */
inline feed_lua(n, v)
{
	look(n);
	if
	:: key == VALUE && held < v -> set(ABSENT, 0)
#ifndef FEED_KEEPS_LEASE
	:: key == LEASE -> set(ABSENT, 0)
#endif
	:: key == FENCE ->
#ifndef FEED_LEAVES_FENCE
		newest = (v > newest -> v : newest)
#endif
	:: else
	fi
}

proctype feed(byte me)
{
	byte next = 2;
	{
end:	do
	:: atomic {
		next <= db ->
		feed_lua(me, next); answers(FEED_OF(me), me); unheard[me]++;
		printf("node %d: the feed tells Redis of %d\n", me, next)
	}
	atomic {
		ANSWERED(FEED_OF(me));
		unheard[me]--;
		if
		:: l1[me] < next -> invalidate(me)
		:: else
		fi;
		fed[me] = next; next++
	}
	od
	} unless { atomic { !up[me] -> next = 0 } }
}

proctype outside()
{
	atomic { db++; changedOutside = true; heardOutside = true; printf("primary: changed past aside: %d\n", db) }
}

#else

/* The program that made the change calls Cache.Invalidate on node 0. */
proctype outside()
{
	byte v;
	{
	atomic { db++; v = db; changedOutside = true; printf("primary: changed past aside: %d\n", v) }
	atomic { invalidate(0) }
	atomic { invalidate_lua(0); answers(OTHER, 0); unheard[0]++; printf("node 0: invalidates the key\n") }
	atomic {
		ANSWERED(OTHER) -> unheard[0]--;
		invalidate(0);
		acknowledges(0, v); heardOutside = true; printf("node 0: has invalidated the key\n")
	}
	} unless { atomic { !up[0] -> behind = behind & ~BIT(OTHER) } };
	v = 0
}

#endif
