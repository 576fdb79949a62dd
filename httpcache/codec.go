package httpcache

import (
	"encoding/binary"
	"net/http"
	"slices"
	"time"
)

// storedForm is the first byte of the binary form of a Stored. Whoever changes what
// follows it, or what any of it means, takes the next number: what a cache has kept
// in an older form is then fetched again.
const storedForm = 1

// The form has numbers as varints of least length, and texts with their length before
// them:
//
//	form, source, flags, status
//	responseTime; date, and those of contentDate, arrived, modified that flags speak of
//	initialAge, lifetime, ageValue, responseDelay, staleWhileRevalidate, staleIfError
//	how many texts follow that are no field names
//	header, unseen: count, and by ascending name: name, count of lines, lines
//	vary: count, names, as many selecting values; tags, groups, early: count, texts
//
// There is one form of each Stored. What is not in it follows from what is: etag and
// lastModified stand in header, which keeps both whatever the response withholds.
const (
	flagNoCache = 1 << iota
	flagRevalidate
	flagStrict
	flagAuthorized
	flagNoTransform
	flagBySMaxage
	flagModified    // there is a Last-Modified
	flagContentDate // contentDate is date; with neither flag it is zero
	flagOtherContentDate
	flagOtherArrived // arrived is not responseTime
	flagsEnd
)

// storedFormBytes is more than the form takes apart from texts and their lengths.
const storedFormBytes = 160

// AppendStored appends s in the binary form that DecodeStored reads, and returns
// buf. Two that are equal have the same form.
func AppendStored(buf []byte, s *Stored) []byte {
	buf = slices.Grow(buf, max(0, int(s.sizeBytes)-storedBytes)+storedFormBytes)
	flags := s.formFlags()
	buf = append(buf, storedForm)
	buf = binary.AppendUvarint(buf, uint64(s.source))
	buf = binary.AppendUvarint(buf, flags)
	buf = binary.AppendUvarint(buf, uint64(s.status))
	base := s.responseTime.Unix()
	buf = appendInstant(buf, s.responseTime, 0)
	buf = appendInstant(buf, s.date, base)
	if flags&flagOtherContentDate != 0 {
		buf = appendInstant(buf, s.contentDate, base)
	}
	if flags&flagOtherArrived != 0 {
		buf = appendInstant(buf, s.arrived, base)
	}
	if flags&flagModified != 0 {
		buf = appendInstant(buf, s.modified, base)
	}
	for _, d := range [...]time.Duration{s.initialAge, s.lifetime, s.ageValue, s.responseDelay} {
		buf = appendDuration(buf, d)
	}
	for _, d := range [...]delta{s.staleWhileRevalidate, s.staleIfError} {
		buf = binary.AppendUvarint(buf, uint64(d-absent))
	}
	buf = binary.AppendUvarint(buf, s.countTexts())
	buf = appendFields(buf, s.header)
	buf = appendFields(buf, s.unseen)
	buf = appendTexts(buf, s.vary)
	for _, value := range s.selecting {
		buf = appendText(buf, value)
	}
	for _, list := range [...][]string{s.tags, s.groups, s.early} {
		buf = appendTexts(buf, list)
	}
	return buf
}

func (s *Stored) formFlags() (flags uint64) {
	for _, f := range [...]struct {
		flag uint64
		set  bool
	}{
		{flagNoCache, s.noCache},
		{flagRevalidate, s.revalidate},
		{flagStrict, s.strict},
		{flagAuthorized, s.authorized},
		{flagNoTransform, s.noTransform},
		{flagBySMaxage, s.bySMaxage},
		{flagModified, s.lastModified != ""},
		{flagContentDate, !s.contentDate.IsZero() && s.contentDate.Equal(s.date)},
		{flagOtherContentDate, !s.contentDate.IsZero() && !s.contentDate.Equal(s.date)},
		{flagOtherArrived, !s.arrived.Equal(s.responseTime)},
	} {
		if f.set {
			flags |= f.flag
		}
	}
	return flags
}

// countTexts lets a decoder have all texts in one array.
func (s *Stored) countTexts() uint64 {
	n := len(s.vary) + len(s.selecting) + len(s.tags) + len(s.groups) + len(s.early)
	for _, fields := range [...]http.Header{s.header, s.unseen} {
		for _, lines := range fields {
			n += len(lines)
		}
	}
	return uint64(n)
}

// appendInstant writes seconds after base, which is one of Unix time, and
// nanoseconds. Zero is an instant as any other.
func appendInstant(buf []byte, t time.Time, base int64) []byte {
	buf = binary.AppendVarint(buf, t.Unix()-base)
	return binary.AppendUvarint(buf, uint64(t.Nanosecond()))
}

// appendDuration writes twice the seconds, or where those are not whole twice the
// nanoseconds and 1. d is between 0 and maxDuration.
func appendDuration(buf []byte, d time.Duration) []byte {
	if d%time.Second == 0 {
		return binary.AppendUvarint(buf, uint64(d/time.Second)<<1)
	}
	return binary.AppendUvarint(buf, uint64(d)<<1|1)
}

func appendFields(buf []byte, fields http.Header) []byte {
	buf = binary.AppendUvarint(buf, uint64(len(fields)))
	var stack [48]string
	names := stack[:0]
	for name := range fields {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		buf = appendTexts(appendText(buf, name), fields[name])
	}
	return buf
}

func appendTexts(buf []byte, texts []string) []byte {
	buf = binary.AppendUvarint(buf, uint64(len(texts)))
	for _, text := range texts {
		buf = appendText(buf, text)
	}
	return buf
}

func appendText(buf []byte, text string) []byte {
	buf = binary.AppendUvarint(buf, uint64(len(text)))
	return append(buf, text...)
}
