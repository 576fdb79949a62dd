package trial

import (
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"perigee/internal/testorigin"
)

// variantField selects the variant of a varied object.
const variantField = "X-Variant"

// origin answers for the catalogue.
type origin struct {
	objects  []*object
	life     *atomic.Int64
	requests atomic.Int64
	bytes    atomic.Int64
	server   *http.Server
	url      string
}

func startOrigin(objects []*object, life *atomic.Int64) (*origin, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	o := &origin{objects: objects, life: life, url: "http://" + l.Addr().String()}
	o.server = &http.Server{Handler: o, ReadHeaderTimeout: 30 * time.Second}
	go o.server.Serve(l) // ends with close
	return o, nil
}

func (o *origin) close() { _ = o.server.Close() }

// ServeHTTP implements [http.Handler].
func (o *origin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	number, err := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/o/"))
	if err != nil || number < 0 || number >= len(o.objects) {
		http.NotFound(w, r)
		return
	}
	o.requests.Add(1)
	obj := o.objects[number]
	obj.asked.Store(o.life.Load())
	obj.serve(&counted{w, &o.bytes}, r)
}

// counted counts the bytes of bodies.
type counted struct {
	http.ResponseWriter
	bytes *atomic.Int64
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p)
	c.bytes.Add(int64(n))
	return n, err
}

// Flush has what was written leave.
func (c *counted) Flush() { _ = http.NewResponseController(c.ResponseWriter).Flush() }

func (o *object) serve(w http.ResponseWriter, r *http.Request) {
	version := o.version.Load()
	variant := o.variantOf(r.Header.Get(variantField))
	etag := o.etag(variant, version)
	h := w.Header()
	h.Set("ETag", etag)
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Cache-Tag", o.tag())
	age := "3600"
	if o.kind == checked {
		age = "1"
	}
	h.Set("Cache-"+"Control", "max-age="+age)
	if o.kind == varied {
		h.Set("Vary", variantField)
	}
	body := bytesOf{o.seed(variant, version)}
	if o.kind == unsized && r.Header.Get("Range") == "" && r.Header.Get("If-None-Match") == "" && r.Method == http.MethodGet {
		w.(http.Flusher).Flush()
		_, _ = io.Copy(w, testorigin.Reader(body.seed, 0, o.size(version))) // who asked may leave
		return
	}
	http.ServeContent(w, r, "", time.Time{}, io.NewSectionReader(body, 0, o.size(version)))
}

// bytesOf is the body of a seed, without end.
type bytesOf struct{ seed uint64 }

// ReadAt implements [io.ReaderAt].
func (b bytesOf) ReadAt(p []byte, off int64) (int, error) {
	testorigin.Fill(p, b.seed, off)
	return len(p), nil
}
