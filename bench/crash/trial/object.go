package trial

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"perigee/internal/testorigin"
)

// kind says how an object is served.
type kind uint8

const (
	plain   kind = iota // fresh for an hour
	varied              // likewise, in three variants
	checked             // fresh for a second, then it is validated
	unsized             // fresh for an hour, without Content-Length
	kinds
)

// variants are the values of the request field that a varied object is selected by.
var variants = []string{"a", "b", "c"}

const (
	checkedFor = time.Second
	// checkedSlack is how much later than that a new version may be seen: the origin may
	// take its time, and so may a client of a busy machine.
	checkedSlack = 10 * time.Second
)

// object is one URL of the origin. Its bytes are a function of its number, variant and
// version.
type object struct {
	number int
	kind   kind
	base   int64 // bytes of version 0

	version atomic.Int64 // what the origin sends
	bumped  atomic.Int64 // when it got that, in Unix nanoseconds
	floor   atomic.Int64 // the least version that may be served: an acknowledged purge forbids those below
	asked   atomic.Int64 // the last life in which the origin was asked for it
}

// catalogue makes n objects whose sizes are spread evenly over the orders of magnitude
// between least and most.
func catalogue(n int, least, most int64) []*object {
	all := make([]*object, n)
	for i := range all {
		o := &object{number: i, base: least}
		// A fraction of the golden ratio spreads sizes over all numbers, the hot ones too.
		part := math.Mod(float64(i)*math.Phi, 1)
		o.base += int64(math.Expm1(part * math.Log1p(float64(most-least))))
		switch i % 10 {
		case 5, 6:
			o.kind = varied
		case 7:
			o.kind = checked
		case 8:
			o.kind = unsized
		}
		all[i] = o
	}
	return all
}

func (o *object) path() string { return "/o/" + strconv.Itoa(o.number) }

// groups is how many tags there are; each object has one.
const groups = 24

func (o *object) tag() string { return "group-" + strconv.Itoa(o.number%groups) }

// size differs from version to version, so that parts of two do not fit together.
func (o *object) size(version int64) int64 { return o.base + version%5 }

func (o *object) seed(variant string, version int64) uint64 {
	return testorigin.Seed(o.path(), variant+strconv.FormatInt(version, 10))
}

// etag is the validator of a version: "number.variant.version".
func (o *object) etag(variant string, version int64) string {
	return fmt.Sprintf(`"%d.%s.%d"`, o.number, variant, version)
}

// parse reads the version out of a validator that must be of this object and variant.
func (o *object) parse(etag, variant string) (version int64, ok bool) {
	rest, ok := strings.CutPrefix(etag, fmt.Sprintf(`"%d.%s.`, o.number, variant))
	if !ok {
		return 0, false
	}
	digits, ok := strings.CutSuffix(rest, `"`)
	version, err := strconv.ParseInt(digits, 10, 64)
	return version, ok && err == nil
}

// variantOf is the variant that a value of the request field selects.
func (o *object) variantOf(value string) string {
	if o.kind != varied {
		return "-"
	}
	return value
}

// bump gives the object a new version.
func (o *object) bump() int64 {
	v := o.version.Add(1)
	o.bumped.Store(time.Now().UnixNano())
	return v
}

// raise forbids versions below v from now on.
func (o *object) raise(v int64) {
	for {
		old := o.floor.Load()
		if old >= v || o.floor.CompareAndSwap(old, v) {
			return
		}
	}
}

// least is the oldest version that a request may be answered with that begins now.
func (o *object) least() int64 {
	least := o.floor.Load()
	if o.kind == checked {
		current := o.version.Load() // before bumped: a bump in between makes this one stricter, not wrong
		if since := time.Now().UnixNano() - o.bumped.Load(); since > int64(checkedFor+checkedSlack) {
			least = max(least, current)
		}
	}
	return least
}
