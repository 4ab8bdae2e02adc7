/* A change past aside, without a fence. */

#ifdef FEED

/* The feed tells of it: see feed.pml. */
proctype outside()
{
	byte left = OUTSIDE;	/* so many changes */
end:	do
	:: atomic {
		left && !UNSEEN -> left--;
		commits(NOBODY); changedOutside = true; heardOutside = true;
		printf("primary: changed past aside: %d\n", db)
	}
	od
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
