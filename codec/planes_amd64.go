package codec

// lanes is how many elements a block of the loops in planes_amd64.s has.
const lanes = 16

//go:noescape
func merge16Blocks(dst, planes *byte, n, blocks int)

//go:noescape
func merge32Blocks(dst, planes *byte, n, blocks int)

//go:noescape
func sum16Blocks(dst, base, planes *byte, n, blocks int)

//go:noescape
func sum32Blocks(dst, base, planes *byte, n, blocks int)

// mergeFast does the front of what merge does and returns the number of elements done.
func mergeFast(dst, planes []byte, k kind) int {
	n := len(dst) / k.width
	blocks := n / lanes
	switch {
	case blocks == 0 || !k.float:
		return 0
	case k.width == 2:
		merge16Blocks(&dst[0], &planes[:2*n][0], n, blocks)
	case k.width == 4:
		merge32Blocks(&dst[0], &planes[:4*n][0], n, blocks)
	default:
		return 0
	}
	return lanes * blocks
}

// sumFast is the same of mergeDifferences.
func sumFast(dst, base, planes []byte, k kind) int {
	n := len(dst) / k.width
	blocks := n / lanes
	switch {
	case blocks == 0 || !k.float:
		return 0
	case k.width == 2:
		sum16Blocks(&dst[0], &base[:2*n][0], &planes[:2*n][0], n, blocks)
	case k.width == 4:
		sum32Blocks(&dst[0], &base[:4*n][0], &planes[:4*n][0], n, blocks)
	default:
		return 0
	}
	return lanes * blocks
}
