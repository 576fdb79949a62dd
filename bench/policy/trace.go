package main

import (
	"math"
	"slices"
)

// Of the objects that are asked for again and again.
const (
	hotObjects   = 200_000
	warmRequests = 1_000_000 // before anything is counted
	hotRequests  = 2_000_000 // that are counted; scans come on top of them
)

// Of what comes on top.
const (
	scanShare   = 0.3  // of all requests of a mixed scan
	bursts      = 4    // scans with nothing else between
	burstCaches = 10   // length of a burst, in capacities of the disk
	briefAsked  = 4    // requests for an object that is popular briefly
	briefPart   = 0.02 // of the capacity of the disk: those of them that are popular at once
	driftEvery  = 5    // requests after which one popularity goes to a new object
)

// Bounds of an object's size in bytes, and the log-normal distribution between them.
const (
	leastSize   = 1 << 10
	mostSize    = 1 << 20
	medianSize  = 7 << 10
	sizeSpread  = 1.3
	sizeChoices = 1 << 16
)

// random is splitmix64. Equal seeds give equal rows on every machine.
type random uint64

func (r *random) next() uint64 {
	*r += 0x9e3779b97f4a7c15
	return mix(uint64(*r))
}

// below returns a number in [0, n).
func (r *random) below(n int) int { return int(r.next() >> 11 % uint64(n)) }

// unit returns a number in [0, 1).
func (r *random) unit() float64 { return float64(r.next()>>11) / (1 << 53) }

func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// sizes gives every object its size in bytes, by its number alone.
type sizes []int64

func newSizes() sizes {
	s, r := make(sizes, sizeChoices), random(1)
	for i := range s {
		normal := math.Sqrt(-2*math.Log(1-r.unit())) * math.Cos(2*math.Pi*r.unit())
		s[i] = min(max(int64(medianSize*math.Exp(sizeSpread*normal)), leastSize), mostSize)
	}
	return s
}

func (s sizes) of(id uint32) int64 { return s[mix(uint64(id))%sizeChoices] }

// hotBytes is the size of all objects that are popular at the beginning.
func (s sizes) hotBytes() (sum int64) {
	for id := uint32(1); id <= hotObjects; id++ {
		sum += s.of(id)
	}
	return sum
}

// zipf draws ranks from 0, where the one of rank k is as likely as 1/(k+1)^alpha.
// guide[i] is the least rank whose sum is not below i/len(guide).
type zipf struct {
	sums  []float64
	guide []int32
}

func newZipf(alpha float64) *zipf {
	z := &zipf{sums: make([]float64, hotObjects), guide: make([]int32, hotObjects+1)}
	sum := 0.0
	for k := range z.sums {
		sum += math.Pow(float64(k+1), -alpha)
		z.sums[k] = sum
	}
	for k := range z.sums {
		z.sums[k] /= sum
	}
	for i, k := 0, 0; i < hotObjects; i++ {
		for z.sums[k] < float64(i)/hotObjects {
			k++
		}
		z.guide[i] = int32(k)
	}
	z.guide[hotObjects] = hotObjects - 1
	return z
}

func (z *zipf) draw(r *random) int {
	u := r.unit()
	i := int(u * hotObjects)
	lo, hi := int(z.guide[i]), int(z.guide[i+1])
	k, _ := slices.BinarySearch(z.sums[lo:hi], u)
	return lo + k
}

// kind is what the popular objects are mixed with.
type kind uint8

const (
	plain kind = iota
	mixedScan
	burstScan
	drift
	brief
	kinds
)

func (k kind) String() string {
	return [...]string{"plain", "mixed scan", "scan bursts", "drift", "brief"}[k]
}

// trace is a row of requests. Objects have the numbers from 1 to top; those that are
// above hot are asked for once, by a scan.
type trace struct {
	requests []uint32
	warm     int // requests that are not counted
	hot, top uint32
}

// newTrace makes the same row of requests for hot objects whatever k and capacity
// are, drift aside.
func newTrace(z *zipf, k kind, capacity int64, size sizes) *trace {
	t := &trace{hot: hotObjects, top: hotObjects}
	ids := make([]uint32, hotObjects)
	for i := range ids {
		ids[i] = uint32(i + 1)
	}
	ranks, extra := random(2), random(3)
	passing := make([]passer, max(1, int(briefPart*float64(capacity))/(16<<10)))
	for i := range warmRequests + hotRequests {
		if i == warmRequests {
			t.warm = len(t.requests)
		}
		switch {
		case k == mixedScan:
			for extra.unit() < scanShare {
				t.scan()
			}
		case k == brief:
			for extra.unit() < scanShare {
				t.pass(&passing[extra.below(len(passing))])
			}
		case k == burstScan && i > warmRequests && (i-warmRequests)%(hotRequests/bursts) == hotRequests/bursts/2:
			for sum := int64(0); sum < burstCaches*capacity; sum += size.of(t.top) {
				t.scan()
			}
		case k == drift && i%driftEvery == 0:
			t.top++
			t.hot = t.top
			ids[extra.below(hotObjects)] = t.top
		}
		t.requests = append(t.requests, ids[z.draw(&ranks)])
	}
	return t
}

// scan asks for an object that nobody asks for again.
func (t *trace) scan() {
	t.top++
	t.requests = append(t.requests, t.top)
}

// passer is an object that is popular briefly.
type passer struct {
	id   uint32
	left int // requests for it that are still to come
}

// pass asks for p, or for its successor if p has passed.
func (t *trace) pass(p *passer) {
	if p.left == 0 {
		t.top++
		t.hot = t.top
		*p = passer{id: t.top, left: briefAsked}
	}
	p.left--
	t.requests = append(t.requests, p.id)
}
