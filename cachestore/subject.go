package cachestore

// Subject is what a stored response can be purged by. Host, Path and Query are
// normalised as they are keyed, Host is the canonical one.
type Subject struct {
	Site                      string // name of the site as configured
	Scheme, Host, Path, Query string
	Class                     string // "" or the text of the class of URLs that No-Vary-Search makes equal
	Tags, Groups              []string
	Status                    int    // 0 = unknown
	MediaType                 string // the Content-Type field; its parameters do not count
}

// Mark is a name that a purge can strike, hashed with a secret key: two names with
// one mark are purged together. It is kept with the object.
type Mark uint64

// Birth says when the fetch of a response, or the validation that freshened it,
// began: what was purged later strikes it.
type Birth struct {
	// Seq is the number of the newest log entry that was applied by then. Numbers of
	// one log never go back, so it means the same after a restart.
	Seq int64
	// Local counts the invalidations of this process that came before it. What was
	// stored by another process has 0.
	Local int64
}

// earlier is a birth after which all counts that came after one of the two.
func (b Birth) earlier(other Birth) Birth {
	return Birth{Seq: min(b.Seq, other.Seq), Local: min(b.Local, other.Local)}
}
