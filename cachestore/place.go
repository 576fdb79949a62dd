package cachestore

// Place is where the bytes of an object are read from.
type Place uint8

const (
	TierFill Place = iota // it is still arriving
	TierRAM
	TierDisk // some of them at least
)

// String is the word of the log and the metrics.
func (p Place) String() string {
	return [...]string{TierFill: "fill", TierRAM: "ram", TierDisk: "disk"}[p]
}

// Tier is where the bytes of o are read from now.
func (o *Object) Tier() Place {
	switch {
	case o.Filling():
		return TierFill
	case o.lean():
		return TierDisk
	}
	return TierRAM
}
