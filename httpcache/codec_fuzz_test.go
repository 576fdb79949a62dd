package httpcache

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// refusedForm fails where data is decoded, or refused in another way than with
// ErrStoredForm.
func refusedForm(t *testing.T, data []byte) {
	t.Helper()
	s, err := DecodeStored(data)
	if s != nil || !errors.Is(err, ErrStoredForm) {
		t.Errorf("DecodeStored(%q) = %v, %v, want nil, ErrStoredForm", data, s, err)
	}
}

func TestDecodeStoredRefusesTruncated(t *testing.T) {
	t.Parallel()
	for _, s := range fullest(t) {
		form := AppendStored(nil, s)
		for n := range form {
			refusedForm(t, form[:n])
		}
		refusedForm(t, append(form, 0))
	}
}

// Whatever a flipped bit makes of the form, it is refused or is the form of something
// else: nothing in it is passed over.
func TestDecodeStoredOfFlippedBits(t *testing.T) {
	t.Parallel()
	refused := 0
	form := AppendStored(nil, fullest(t)[1])
	for i := range len(form) * 8 {
		form[i/8] ^= 1 << (i % 8)
		if s, err := DecodeStored(form); err != nil {
			refused++
		} else if again := AppendStored(nil, s); !bytes.Equal(form, again) {
			t.Errorf("bit %d: %q is decoded, and written as %q", i, form, again)
		}
		form[i/8] ^= 1 << (i % 8)
	}
	if refused < len(form) {
		t.Errorf("%d of %d flipped bits are noticed, want at least one of each byte on average", refused, 8*len(form))
	}
}

// What no response can be is refused even if AppendStored is made to write it.
func TestDecodeStoredRefusesNonsense(t *testing.T) {
	t.Parallel()
	many := func(n int) []string { return strings.Split(strings.Repeat("x,", n-1)+"x", ",") }
	for name, spoil := range map[string]func(s *Stored){
		"source":              func(s *Stored) { s.source = sources },
		"status too small":    func(s *Stored) { s.status = 199 },
		"status too large":    func(s *Stored) { s.status = 1000 },
		"status negative":     func(s *Stored) { s.status = -200 },
		"lifetime":            func(s *Stored) { s.lifetime = maxDuration + time.Second },
		"lifetime, a bit":     func(s *Stored) { s.lifetime = maxDuration + 1 },
		"lifetime negative":   func(s *Stored) { s.lifetime = -1 },
		"age negative":        func(s *Stored) { s.initialAge = -time.Second },
		"age value":           func(s *Stored) { s.ageValue = math.MaxInt64 },
		"delay":               func(s *Stored) { s.responseDelay = math.MinInt64 },
		"delta negative":      func(s *Stored) { s.staleIfError = absent - 1 },
		"delta too large":     func(s *Stored) { s.staleWhileRevalidate = maxDelta + 1 },
		"instant too late":    func(s *Stored) { s.responseTime = time.Unix(maxFormUnix+1, 0) },
		"instant too early":   func(s *Stored) { s.date = time.Unix(-maxFormUnix-1, 0) },
		"instant overflowing": func(s *Stored) { s.arrived = time.Unix(math.MinInt64/2, 0) },
		"vary unsorted":       func(s *Stored) { s.vary = []string{"foo", "accept-language"} },
		"vary twice":          func(s *Stored) { s.vary = []string{"foo", "foo"} },
		"vary in upper case":  func(s *Stored) { s.vary = []string{"Foo", "goo"} },
		"vary no token":       func(s *Stored) { s.vary = []string{"", "foo"} },
		"too many vary": func(s *Stored) {
			s.vary, s.selecting = nil, many(maxVary+1)
			for i := range s.selecting {
				s.vary = append(s.vary, strings.Repeat("x", i+1))
			}
		},
		"values missing":      func(s *Stored) { s.selecting = s.selecting[1:] },
		"values too many":     func(s *Stored) { s.selecting = append(s.selecting, "x") },
		"too many tags":       func(s *Stored) { s.tags = many(maxTags + 1) },
		"too many groups":     func(s *Stored) { s.groups = many(maxGroups + 1) },
		"too many hints":      func(s *Stored) { s.early = many(maxEarlyLines + 1) },
		"no such field":       func(s *Stored) { s.header = http.Header{} },
		"such a field twice":  func(s *Stored) { s.header = http.Header{LastModifiedField: many(2)} },
		"such a field, empty": func(s *Stored) { s.header = http.Header{LastModifiedField: {""}} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := *fullest(t)[0]
			if spoil(&s); cmp.Equal(s, *fullest(t)[0], wholeStored) {
				t.Fatal("nothing is spoilt")
			}
			refusedForm(t, AppendStored(nil, &s))
		})
	}
}

// formOf makes a form without fields of numbers up to the count of texts.
func formOf(flags uint64, instants ...int64) []byte {
	form := binary.AppendUvarint([]byte{storedForm, byte(SourceNone)}, flags)
	form = binary.AppendUvarint(form, 200)
	for _, seconds := range instants {
		form = append(binary.AppendVarint(form, seconds), 0)
	}
	return append(form, 0, 0, 0, 0, 0, 0) // durations, deltas
}

func TestDecodeStoredRefusesOtherForms(t *testing.T) {
	t.Parallel()
	empty := []byte{0, 0, 0, 0, 0, 0, 0} // texts, header, unseen, vary, tags, groups, early
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	good := join(formOf(0, 5, 0), empty)
	if s, err := DecodeStored(good); err != nil || s.header == nil || !bytes.Equal(AppendStored(nil, s), good) {
		t.Fatalf("DecodeStored(%q) = %v, %v", good, s, err)
	}
	zero := time.Time{}.Unix()
	for name, data := range map[string][]byte{
		"nothing":                 nil,
		"version 0":               join([]byte{0}, good[1:]),
		"next version":            join([]byte{storedForm + 1}, good[1:]),
		"unknown flag":            join(formOf(flagsEnd, 5, 0), empty),
		"both dates of content":   join(formOf(flagContentDate|flagOtherContentDate, 5, 0), empty),
		"both, and another":       join(formOf(flagContentDate|flagOtherContentDate, 5, 0, 1), empty),
		"zero as date of content": join(formOf(flagContentDate, zero, 0), empty),
		"other date that is none": join(formOf(flagOtherContentDate, 0, 0, zero), empty),
		"other date that is not":  join(formOf(flagOtherContentDate, 5, 1, 1), empty),
		"arrival that is the one": join(formOf(flagOtherArrived, 5, 0, 0), empty),
		"seconds that overflow":   join(formOf(0, maxFormUnix, math.MaxInt64), empty),
		"seconds that underflow":  join(formOf(0, -maxFormUnix, math.MinInt64), empty),
		"a second of nanoseconds": join(good[:6], binary.AppendUvarint(nil, 1e9), good[7:]),
		"seconds in nanoseconds":  join(good[:9], binary.AppendUvarint(nil, 1e9<<1|1), good[10:]),
		"zero nanoseconds":        join(good[:9], []byte{1}, good[10:]),
		"number in two bytes":     join(good[:1], []byte{0x80, 0}, good[2:]),
		"number in eleven bytes":  join(good[:1], bytes.Repeat([]byte{0x80}, 10), good[1:]),
		"number over 64 bits":     join(good[:9], bytes.Repeat([]byte{0x80}, 9), []byte{2}, good[10:]),
		"texts that are missing":  join(formOf(0, 5, 0), []byte{1}, empty[1:]),
		"more texts than counted": join(formOf(0, 5, 0), []byte{1, 0, 0, 0, 2, 1, 'a', 1, 'b', 0, 0}),
		"fields that are missing": join(formOf(0, 5, 0), []byte{0, 2}, empty[1:]),
		"fields unsorted":         join(formOf(0, 5, 0), []byte{2, 2, 1, 'B', 1, 0, 1, 'A', 1, 0}, empty[2:]),
		"a field twice":           join(formOf(0, 5, 0), []byte{2, 2, 1, 'A', 1, 0, 1, 'A', 1, 0}, empty[2:]),
		"text beyond the end":     join(formOf(0, 5, 0), []byte{1, 0, 0, 0, 0, 0, 1, 1}),
		"text of 2^63 bytes":      join(formOf(0, 5, 0), []byte{1, 0, 0, 0, 0, 0, 1}, binary.AppendUvarint(nil, 1<<63)),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			refusedForm(t, data)
		})
	}
}

// A few bytes that speak of many texts or fields must not take memory for them. It
// runs alone, as it measures all memory that is taken.
func TestDecodeStoredTakesInProportion(t *testing.T) {
	const times, most = 32, 64 // how often each is decoded; bytes taken for one of the form
	padding := make([]byte, 1<<14)
	lie := binary.AppendUvarint(nil, 1<<14)
	for name, data := range map[string][]byte{
		"texts":     bytes.Join([][]byte{formOf(0, 5, 0), lie, padding}, nil),
		"fields":    bytes.Join([][]byte{formOf(0, 5, 0), {0}, lie, padding}, nil),
		"lines":     bytes.Join([][]byte{formOf(0, 5, 0), lie, {1, 1, 'A'}, lie, padding}, nil),
		"out of it": bytes.Join([][]byte{formOf(0, 5, 0), binary.AppendUvarint(nil, math.MaxUint64)}, nil),
		"short":     bytes.Join([][]byte{formOf(0, 5, 0), {0}, lie}, nil),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range times {
			DecodeStored(data)
		}
		runtime.ReadMemStats(&after)
		const constant = 2048 // a Stored and an error
		if taken := int(after.TotalAlloc-before.TotalAlloc) / times; taken > most*len(data)+constant {
			t.Errorf("%s: %d bytes of memory for a form of %d", name, taken, len(data))
		}
	}
}

func FuzzDecodeStored(f *testing.F) {
	for _, s := range fullest(f) {
		f.Add(AppendStored(nil, s))
	}
	f.Add(AppendStored(nil, mustStore(f, &Rules{}, browserGet(), twelveFields())))
	f.Add(formOf(flagOtherArrived, 0, 1, -1))
	f.Add([]byte{})
	other := fullest(f)[0]
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := DecodeStored(data)
		if err != nil {
			if s != nil || !errors.Is(err, ErrStoredForm) {
				t.Errorf("DecodeStored(%q) = %v, %v", data, s, err)
			}
			return
		}
		if form := AppendStored(nil, s); !bytes.Equal(form, data) {
			t.Errorf("%q is decoded, and written as %q", data, form)
		}
		asNew(t, s)
		// The law takes whatever is decoded.
		rules := &Rules{StaleIfError: time.Minute}
		for _, now := range []time.Time{{}, origo, s.plainUntil} {
			view(rules, browserGet(), s, other, now)
		}
		later := Response{Status: 304, Header: http.Header{}, RequestTime: origo, ResponseTime: origo}
		if fresh, ok := Freshen(rules, s, nil, later); ok {
			asNew(t, fresh)
		}
	})
}
