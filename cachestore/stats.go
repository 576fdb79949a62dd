package cachestore

// Stats is what a store or a tier holds and has done since it was opened. All
// figures are snapshots taken without stopping anyone; counters only grow.
type Stats struct {
	LimitBytes int64 // the budget
	UsedBytes  int64 // reserved now: bodies, metadata, windows, what readers still hold
	Objects    int64 // stored responses that a look-up can find
	Fills      int64 // responses still arriving
	Partial    int64 // of these Objects, those that are not whole
	Windows    int64 // fills that are no longer stored, only passed on

	Stored   int64 // fills that ended as a stored response
	Refused  int64 // fills that a tier would not keep: admission, no room
	TooLarge int64 // fills that outgrew the largest object
	Evicted  int64 // stored responses that left to make room
	Replaced int64 // stored responses whose place a newer one took
	Removed  int64 // stored responses removed by name
	Failed   int64 // fills that ended with the upstream's error
	Corrupt  int64 // whole bodies that their Check refused
	Surplus  int64 // parts that came whole but added nothing to what was stored
	Detached int64 // readers let go because they held a window too long

	DepotObjects int64 // stored responses that the depot has, in memory too or not
	DepotStored  int64 // stored responses that the depot took from fills
	DepotRefused int64 // and those that it would not take
	Recalled     int64 // objects that were found in the depot and not in memory
	Promoted     int64 // of these, those whose bytes were brought up into memory
	Spilled      int64 // bodies that went to the depot while they arrived
	Unspilled    int64 // of these, those that it could not take to their end
	Damaged      int64 // readers and copies whose bytes in the depot were gone or damaged
}
