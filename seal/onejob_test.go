package seal

import (
	"fmt"
	"testing"
)

// Of checkpoints that settle together in one folder, each finds the one before it for a base, though pairing asks for bases early.
func TestOneJob(t *testing.T) {
	md := newTwins(27)
	r := newRig(t, Options{})
	var names []string
	for step := 1; step <= 4; step++ {
		md.train()
		names = append(names, fmt.Sprintf("run/step_%d.pt", step))
		r.put(names[step-1], md.lightning())
	}
	r.seal()
	for i, name := range names[1:] {
		r.wantBase(name, names[i])
	}
}
