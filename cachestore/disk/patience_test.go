package disk

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestPatience(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		idle := &patience{limit: time.Second}
		time.Sleep(time.Minute)
		if err := idle.Err(); err != nil {
			t.Errorf("before anybody waits: %v", err)
		}
		idle.end()
		began := time.Now()
		p := &patience{limit: time.Second}
		defer p.end()
		<-p.Done()
		if took := time.Since(began); took != time.Second || !errors.Is(p.Err(), context.DeadlineExceeded) || !errors.Is(context.Cause(p), context.DeadlineExceeded) {
			t.Errorf("it ended after %v: %v, cause %v", took, p.Err(), context.Cause(p))
		}
	})
}
