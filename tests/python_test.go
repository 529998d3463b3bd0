package tests

import (
	"path/filepath"
	"sort"
	"testing"
)

// TestClients opens what a mount shows with the programs people use.
func TestClients(t *testing.T) {
	python := needPython(t)
	for _, kind := range []string{"dev", "bf16"} {
		for _, profile := range []string{"exact", "excp"} {
			t.Run(kind+"/"+profile, func(t *testing.T) {
				chain := chainOf(t, kind)
				m := mount(t, "--profile", profile)
				for _, c := range checkpoints(t, chain) {
					m.add(t, c)
				}
				mode := map[string]string{"exact": "exact", "excp": "lossy"}[profile]
				t.Log(must(t, python, "python/clients.py", chain, m.point, mode))
				for _, c := range checkpoints(t, chain) {
					if s := m.state(filepath.Base(c) + "/model.safetensors"); s != "sealed" {
						t.Errorf("%s: model.safetensors is %s", c, s)
					}
				}
				// Sealed again after a cold start, the same bytes come out.
				m.umount(t)
				again := remount(t, m.store)
				must(t, python, "python/clients.py", chain, again.point, mode)
				excpfs(t, 0, "verify", again.store)
			})
		}
	}
}

// checkpoints lists the folders of a chain in the order of their steps.
func checkpoints(t *testing.T, chain string) []string {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(chain, "checkpoint-*"))
	if err != nil || len(list) == 0 {
		t.Fatalf("no checkpoints in %s: %v", chain, err)
	}
	sort.Slice(list, func(i, j int) bool {
		return len(list[i]) < len(list[j]) || len(list[i]) == len(list[j]) && list[i] < list[j]
	})
	return list
}
