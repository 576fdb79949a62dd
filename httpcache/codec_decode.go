package httpcache

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// ErrStoredForm is what DecodeStored says of bytes that AppendStored did not write,
// or that an AppendStored of another version did.
var ErrStoredForm = errors.New("no stored response in the form of this version")

// maxFormUnix bounds the seconds of an instant: far from where sums of instants and
// durations would overflow.
const maxFormUnix = 1 << 40

// DecodeStored reads what AppendStored wrote, and all of data must be that. The result
// is to every method and function what the original was; its instants are in UTC. data
// is copied once and not kept. The error is ErrStoredForm, wrapped with what is wrong;
// memory is taken in proportion to the length of data, whatever data says.
//
// It judges the form and not the sense: who can write the bytes can make a response
// say anything. That they are what was written is for the caller to check.
func DecodeStored(data []byte) (*Stored, error) {
	if len(data) == 0 || data[0] != storedForm {
		return nil, fmt.Errorf("%w: unknown version", ErrStoredForm)
	}
	r := formReader{rest: string(data[1:])}
	s := r.stored()
	if r.wrong == "" && r.rest != "" {
		r.fail("bytes after the end")
	}
	if r.wrong != "" {
		return nil, fmt.Errorf("%w: %s, %d bytes before the end", ErrStoredForm, r.wrong, len(r.rest))
	}
	return s, nil
}

// formReader takes the binary form apart from the left. After the first thing that
// is wrong all that it reads is zero.
type formReader struct {
	rest  string
	texts []string // backs all lists of texts; its capacity is how many there must be
	wrong string   // empty for nothing
}

func (r *formReader) fail(wrong string) {
	if r.wrong == "" {
		r.wrong = wrong
	}
}

func (r *formReader) stored() *Stored {
	s := &Stored{source: Source(r.number(uint64(sources)-1, "source"))}
	flags := r.number(flagsEnd-1, "flags")
	s.noCache, s.revalidate = flags&flagNoCache != 0, flags&flagRevalidate != 0
	s.strict, s.authorized = flags&flagStrict != 0, flags&flagAuthorized != 0
	s.noTransform, s.bySMaxage = flags&flagNoTransform != 0, flags&flagBySMaxage != 0
	if s.status = int(r.number(999, "status")); s.status < 200 {
		r.fail("status")
	}
	r.instants(s, flags)
	s.initialAge, s.lifetime = r.duration(), r.duration()
	s.ageValue, s.responseDelay = r.duration(), r.duration()
	s.staleWhileRevalidate, s.staleIfError = r.delta(), r.delta()
	r.texts = make([]string, 0, r.number(uint64(len(r.rest)), "count of texts"))
	if s.header = r.fields(); s.header == nil {
		s.header = make(http.Header)
	}
	s.unseen = r.fields()
	r.selecting(s)
	s.tags = r.list(maxTags, "tags")
	s.groups = r.list(maxGroups, "groups")
	s.early = r.list(maxEarlyLines, "early hints")
	if len(r.texts) != cap(r.texts) {
		r.fail("count of texts")
	}
	if r.wrong == "" {
		r.derive(s, flags)
	}
	return s
}

// instants reads those that flags speak of. One that is written although a flag could
// have said it is refused: there is one form of each Stored.
func (r *formReader) instants(s *Stored, flags uint64) {
	s.responseTime = r.instant(0)
	base := s.responseTime.Unix()
	s.date = r.instant(base)
	switch flags & (flagContentDate | flagOtherContentDate) {
	case flagContentDate:
		if s.contentDate = s.date; s.date.IsZero() {
			r.fail("date of content")
		}
	case flagOtherContentDate:
		if s.contentDate = r.instant(base); s.contentDate.IsZero() || s.contentDate.Equal(s.date) {
			r.fail("date of content")
		}
	case flagContentDate | flagOtherContentDate:
		r.fail("flags")
	}
	s.arrived = s.responseTime
	if flags&flagOtherArrived != 0 {
		if s.arrived = r.instant(base); s.arrived.Equal(s.responseTime) {
			r.fail("arrival")
		}
	}
	if flags&flagModified != 0 {
		s.modified = r.instant(base)
	}
}

// selecting reads the selecting fields and what follows from them.
func (r *formReader) selecting(s *Stored) {
	if s.vary = r.list(maxVary, "selecting fields"); s.vary == nil {
		return
	}
	for i, name := range s.vary {
		if !isToken(name) || name != strings.ToLower(name) || i > 0 && name <= s.vary[i-1] {
			r.fail("selecting fields")
		}
	}
	s.selecting = r.lines(len(s.vary))
	if r.wrong != "" {
		return
	}
	s.varyKeys = canonicalNames(s.vary)
	s.variant = variantHash(s.vary, s.selecting)
}

// derive fills in what describe and finish make of the rest.
func (r *formReader) derive(s *Stored, flags uint64) {
	if lines := s.header[ETagField]; len(lines) == 1 && validETag(lines[0]) {
		s.etag = lines[0]
	}
	if flags&flagModified != 0 {
		lines := s.header[LastModifiedField]
		if len(lines) != 1 || lines[0] == "" {
			r.fail("last modified")
			return
		}
		s.lastModified = lines[0]
	}
	if !s.noCache && s.lifetime > s.initialAge {
		s.plainUntil = s.responseTime.Add(s.lifetime - s.initialAge)
	}
	s.language = s.ownLanguage()
	s.sizeBytes = s.estimate()
}

// fields reads a section of fields, whose names must ascend; nil for none.
func (r *formReader) fields() http.Header {
	n := r.number(uint64(len(r.rest)), "count of fields")
	if n == 0 {
		return nil
	}
	// A count that lies is found out by the names that are missing, and until then
	// must not have taken more than they would.
	const most = 64
	fields := make(http.Header, min(n, most))
	previous := ""
	for i := range n {
		name := r.text()
		if i > 0 && name <= previous {
			r.fail("order of fields")
		}
		lines := r.lines(int(r.number(uint64(len(r.rest)), "count of lines")))
		if r.wrong != "" {
			return nil
		}
		fields[name], previous = lines, name
	}
	return fields
}

// list reads at most so many texts; nil for none.
func (r *formReader) list(most uint64, wrong string) []string {
	n := r.number(most, wrong)
	if n == 0 {
		return nil
	}
	return r.lines(int(n))
}

// lines reads n texts. Appending to them never writes into what follows.
func (r *formReader) lines(n int) []string {
	start := len(r.texts)
	if n > cap(r.texts)-start {
		r.fail("count of texts")
		return nil
	}
	for range n {
		r.texts = append(r.texts, r.text())
	}
	return r.texts[start : start+n : start+n]
}

func (r *formReader) text() string {
	n := r.number(uint64(len(r.rest)), "length of text")
	if n > uint64(len(r.rest)) { // the number itself took some
		r.fail("length of text")
		return ""
	}
	text := r.rest[:n]
	r.rest = r.rest[n:]
	return text
}

// instant reads seconds after base and nanoseconds.
func (r *formReader) instant(base int64) time.Time {
	zigzag := r.uvarint()
	seconds := int64(zigzag>>1) ^ -int64(zigzag&1)
	nanoseconds := r.number(uint64(time.Second-1), "nanoseconds")
	// base is within the bounds, so that a sum that wraps around is not.
	if seconds += base; seconds < -maxFormUnix || seconds > maxFormUnix {
		r.fail("instant")
		return time.Time{}
	}
	return time.Unix(seconds, int64(nanoseconds)).UTC()
}

func (r *formReader) duration() time.Duration {
	n := r.number(uint64(maxDuration)<<1, "duration")
	switch d := time.Duration(n >> 1); {
	case n&1 == 0 && d <= maxDelta:
		return d * time.Second
	case n&1 == 1 && d%time.Second != 0:
		return d
	}
	r.fail("duration")
	return 0
}

func (r *formReader) delta() delta {
	return delta(r.number(maxDelta+1, "seconds")) + absent
}

// number reads one that is not larger than most.
func (r *formReader) number(most uint64, wrong string) uint64 {
	n := r.uvarint()
	if n > most {
		r.fail(wrong)
		return 0
	}
	return n
}

// uvarint reads a number in its shortest form.
func (r *formReader) uvarint() uint64 {
	if r.wrong != "" {
		return 0
	}
	var n uint64
	for i := range min(len(r.rest), binary.MaxVarintLen64) {
		c := r.rest[i]
		if c >= 0x80 {
			n |= uint64(c&0x7f) << (7 * i)
			continue
		}
		if i > 0 && c == 0 || i == binary.MaxVarintLen64-1 && c > 1 {
			break
		}
		r.rest = r.rest[i+1:]
		return n | uint64(c)<<(7*i)
	}
	r.fail("number")
	return 0
}
