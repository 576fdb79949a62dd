package h1

import (
	"net"
	"testing"
	"time"
)

// endless is a connection whose client sends the same request for ever.
type endless struct {
	net.Conn
	request []byte
}

func (e *endless) Read(p []byte) (int, error)      { return copy(p, e.request), nil }
func (e *endless) SetReadDeadline(time.Time) error { return nil }

var benchOptions = Options{
	Limits:     Limits{TargetBytes: 16 << 10, FieldBytes: 64 << 10, Fields: 128},
	HeaderTime: time.Hour,
	Counts:     &Counts{},
}

const browserRequest = "GET /assets/app-3f2a1b.js?v=12 HTTP/1.1\r\nHost: www.example.com\r\nConnection: keep-alive\r\n" +
	"sec-ch-ua: \"Chromium\";v=\"130\", \"Not?A_Brand\";v=\"99\"\r\nsec-ch-ua-mobile: ?0\r\nsec-ch-ua-platform: \"Linux\"\r\n" +
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36\r\n" +
	"Accept: */*\r\nSec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: no-cors\r\nSec-Fetch-Dest: script\r\n" +
	"Referer: https://www.example.com/\r\nAccept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: en-GB,en;q=0.9\r\n" +
	"Cookie: session=0123456789abcdef; theme=dark\r\n\r\n"

func benchReads(b *testing.B, request string) {
	c := New(&endless{request: []byte(request)}, &benchOptions)
	p := make([]byte, 4<<10)
	b.SetBytes(int64(len(request)))
	b.ReportAllocs()
	for b.Loop() {
		for got := 0; got < len(request); {
			n, err := c.Read(p)
			if err != nil {
				b.Fatal(err)
			}
			got += n
		}
		c.Idle()
	}
}

func BenchmarkPlain(b *testing.B) { benchReads(b, "GET / HTTP/1.1\r\nHost: a\r\n\r\n") }

func BenchmarkBrowser(b *testing.B) { benchReads(b, browserRequest) }

func BenchmarkChunked(b *testing.B) {
	benchReads(b, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
}

// TestAllocatesNothing holds what the benchmarks show.
func TestAllocatesNothing(t *testing.T) {
	if raceDetector {
		t.Skip("under the race detector a sync.Pool forgets at random")
	}
	for _, request := range []string{"GET / HTTP/1.1\r\nHost: a\r\n\r\n", browserRequest} {
		c := New(&endless{request: []byte(request)}, &benchOptions)
		p := make([]byte, 4<<10)
		allocs := testing.AllocsPerRun(1000, func() {
			if n, err := c.Read(p); n != len(request) || err != nil {
				t.Fatalf("Read = %d, %v", n, err)
			}
			c.Idle()
			if c.buf != nil {
				t.Fatal("a connection that waits holds a buffer")
			}
		})
		if allocs >= 1 { // a collection may empty the pool
			t.Errorf("%.60q: %v allocations", request, allocs)
		}
	}
}
