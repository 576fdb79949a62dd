package edge

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"perigee/cachestore"
	"perigee/httpcache"
)

// Ledger is what was purged and invalidated. Nothing is sought when something is
// struck: each response is judged when it is met, by the names that it bears. All
// methods may be called concurrently, and those that judge must not wait.
type Ledger interface {
	// Now is the birth of what is fetched from this moment on.
	Now() cachestore.Birth
	// Judge says what became of a response since it was born. checked belongs to the
	// response, and starts at 0.
	Judge(born cachestore.Birth, marks []cachestore.Mark, checked *atomic.Uint64) cachestore.Verdict
	// Marks are the names by which a response can be struck.
	Marks(s cachestore.Subject) []cachestore.Mark
	// URLMark, ClassMark and GroupMark are single ones of them: a URL in both schemes,
	// a class of URLs that count as equal, a cache group of one origin.
	URLMark(site, host, path, query string) cachestore.Mark
	ClassMark(site, class string) cachestore.Mark
	GroupMark(site, scheme, host, group string) cachestore.Mark
	// Invalidate strikes marks on this node, until it ends (RFC 9111 §4.4). What was
	// born before is gone; each mark counts one in Birth.Local.
	Invalidate(marks ...cachestore.Mark)
	// Written returns when what was invalidated before outlives a kill of the process,
	// where it can, or when ctx ends.
	Written(ctx context.Context)
	// Late tells that what was invalidated since a birth may be forgotten already.
	Late(born cachestore.Birth) bool
}

// verdict is what the ledger says of an object. It makes a handler the guard of its
// store.
func (h *Handler) verdict(o *cachestore.Object) cachestore.Verdict {
	return h.ledger.Judge(o.Born(), o.Marks(), o.Checked())
}

// Verdict implements [cachestore.Guard].
func (h *Handler) Verdict(o *cachestore.Object) cachestore.Verdict { return h.verdict(o) }

// find appends what is stored for a target of a site. A host that has got a site of
// its own finds nothing of what another site stored for it: the marks of that are
// those of the other site. Nor is found what other permissions than those in force
// let be stored: a disk has what a process under another configuration stored.
func (h *Handler) find(site *Site, n *naming, buf []*cachestore.Object) []*cachestore.Object {
	objects := h.store.Get(n.key, buf)
	if n.key != n.plainKey {
		objects = h.store.Get(n.plainKey, objects)
	}
	for i, o := range objects {
		if h.outOfBounds(site, o) {
			return slices.DeleteFunc(objects[i:], func(o *cachestore.Object) bool { return h.outOfBounds(site, o) })
		}
	}
	return objects
}

// outOfBounds tells whether a response is another site's, or one that only permissions
// of before let be stored.
func (h *Handler) outOfBounds(site *Site, o *cachestore.Object) bool {
	any, now := h.permissionMarks(site)
	return o.Label().Site != site.Name || slices.Contains(o.Marks(), any) && !slices.Contains(o.Marks(), now)
}

// clockSlack is by how much a response may seem to come from the future. What does so by
// more was stored when the clock was ahead of what it says now: how old it is nobody
// knows, and it would be fresh until the clock has caught up.
const clockSlack = time.Minute

// decide is what the law says of a stored response, given what was purged.
func (h *Handler) decide(rules *httpcache.Rules, req *httpcache.Request, o *cachestore.Object, now time.Time) httpcache.Decision {
	d := httpcache.Decide(rules, req, o.Stored(), now)
	switch verdict := h.verdict(o); {
	case verdict == cachestore.Doubtful, o.Stored().ResponseTime().Sub(now) > clockSlack:
		d = httpcache.Doubt(rules, req, o.Stored(), d)
	case verdict == cachestore.Soft:
		d = httpcache.Soften(rules, req, o.Stored(), d)
	}
	return d
}

// struckSince tells whether one of the marks was struck hard since a moment.
func (h *Handler) struckSince(born cachestore.Birth, marks ...cachestore.Mark) bool {
	var unchecked atomic.Uint64
	return h.ledger.Judge(born, marks, &unchecked) >= cachestore.Doubtful || h.ledger.Late(born)
}

// urlMark names a target, in clear and over TLS.
func (h *Handler) urlMark(site *Site, t httpcache.Target) cachestore.Mark {
	return h.ledger.URLMark(site.Name, t.Host, t.Path, t.Query)
}

// permissionMark names what a site's rules let be stored that the origin did not
// allow. No purge strikes it: no class has such a text.
func (h *Handler) permissionMark(site *Site) cachestore.Mark {
	return h.ledger.ClassMark(site.Name, "permitted by rules")
}

// permissionMarks are what such a response bears: permissionMark, and the name of the
// permissions as they are.
func (h *Handler) permissionMarks(site *Site) (any, now cachestore.Mark) {
	known := site.policies.permitted.Load()
	if known == nil {
		known = &[2]cachestore.Mark{h.permissionMark(site), h.ledger.ClassMark(site.Name, "permitted by rules\n"+site.permissions())}
		site.policies.permitted.Store(known)
	}
	return known[0], known[1]
}

// pathMark names the path of a target with any query, of which something was struck
// by its URL. No response bears it.
func (h *Handler) pathMark(site *Site, t httpcache.Target) cachestore.Mark {
	return h.ledger.ClassMark(site.Name, touchedText(t))
}

func touchedText(t httpcache.Target) string { return "touched " + t.Host + t.Path }
