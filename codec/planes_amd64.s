#include "textflag.h"

// Sixteen elements at a time, in SSE2, which every amd64 processor has.

// GATHER32 puts sixteen elements together from the planes at SI, R8, R9, R10: X0, X1, X4, X6.
#define GATHER32 \
	MOVOU (SI), X0;      \
	MOVOU (R8), X1;      \
	MOVOU (R9), X2;      \
	MOVOU (R10), X3;     \
	MOVO X0, X4;         \
	PUNPCKLBW X1, X0;    \
	PUNPCKHBW X1, X4;    \
	MOVO X2, X5;         \
	PUNPCKLBW X3, X2;    \
	PUNPCKHBW X3, X5;    \
	MOVO X0, X1;         \
	PUNPCKLWL X2, X0;    \
	PUNPCKHWL X2, X1;    \
	MOVO X4, X6;         \
	PUNPCKLWL X5, X4;    \
	PUNPCKHWL X5, X6

// GATHER16 does so from the planes at SI, R8: X0, X4.
#define GATHER16 \
	MOVOU (SI), X0;      \
	MOVOU (R8), X1;      \
	MOVO X0, X4;         \
	PUNPCKLBW X1, X0;    \
	PUNPCKHBW X1, X4

// TURN rotates X right by one bit and stores it.
#define TURN(X, RIGHT, LEFT, SIGN, AT) \
	MOVO X, X7;          \
	RIGHT $1, X;         \
	LEFT $SIGN, X7;      \
	POR X7, X;           \
	MOVOU X, AT(DI)

// SUM adds the zigzag differences in X to the base at BX, both as ordered integers, and
// stores the floats. X14 has all bits set, X15 the sign bits.
#define SUM(X, RIGHT, LEFT, SIGNED, ADD, SIGN, AT) \
	MOVO X, X7;          \
	RIGHT $1, X;         \
	LEFT $SIGN, X7;      \
	SIGNED $SIGN, X7;    \
	PXOR X7, X;          \
	MOVOU AT(BX), X8;    \
	MOVO X8, X9;         \
	SIGNED $SIGN, X9;    \
	POR X15, X9;         \
	PXOR X9, X8;         \
	ADD X8, X;           \
	MOVO X, X9;          \
	SIGNED $SIGN, X9;    \
	PXOR X14, X9;        \
	POR X15, X9;         \
	PXOR X9, X;          \
	MOVOU X, AT(DI)

// func merge32Blocks(dst, planes *byte, n, blocks int)
TEXT ·merge32Blocks(SB), NOSPLIT, $0-32
	MOVQ dst+0(FP), DI
	MOVQ planes+8(FP), SI
	MOVQ n+16(FP), CX
	MOVQ blocks+24(FP), DX
	LEAQ (SI)(CX*1), R8
	LEAQ (SI)(CX*2), R9
	LEAQ (R8)(CX*2), R10

loop:
	GATHER32
	TURN(X0, PSRLL, PSLLL, 31, 0)
	TURN(X1, PSRLL, PSLLL, 31, 16)
	TURN(X4, PSRLL, PSLLL, 31, 32)
	TURN(X6, PSRLL, PSLLL, 31, 48)
	ADDQ $16, SI
	ADDQ $16, R8
	ADDQ $16, R9
	ADDQ $16, R10
	ADDQ $64, DI
	DECQ DX
	JNZ  loop
	RET

// func sum32Blocks(dst, base, planes *byte, n, blocks int)
TEXT ·sum32Blocks(SB), NOSPLIT, $0-40
	MOVQ dst+0(FP), DI
	MOVQ base+8(FP), BX
	MOVQ planes+16(FP), SI
	MOVQ n+24(FP), CX
	MOVQ blocks+32(FP), DX
	LEAQ (SI)(CX*1), R8
	LEAQ (SI)(CX*2), R9
	LEAQ (R8)(CX*2), R10
	PCMPEQL X14, X14
	MOVO X14, X15
	PSLLL $31, X15

loop:
	GATHER32
	SUM(X0, PSRLL, PSLLL, PSRAL, PADDL, 31, 0)
	SUM(X1, PSRLL, PSLLL, PSRAL, PADDL, 31, 16)
	SUM(X4, PSRLL, PSLLL, PSRAL, PADDL, 31, 32)
	SUM(X6, PSRLL, PSLLL, PSRAL, PADDL, 31, 48)
	ADDQ $16, SI
	ADDQ $16, R8
	ADDQ $16, R9
	ADDQ $16, R10
	ADDQ $64, BX
	ADDQ $64, DI
	DECQ DX
	JNZ  loop
	RET

// func merge16Blocks(dst, planes *byte, n, blocks int)
TEXT ·merge16Blocks(SB), NOSPLIT, $0-32
	MOVQ dst+0(FP), DI
	MOVQ planes+8(FP), SI
	MOVQ n+16(FP), CX
	MOVQ blocks+24(FP), DX
	LEAQ (SI)(CX*1), R8

loop:
	GATHER16
	TURN(X0, PSRLW, PSLLW, 15, 0)
	TURN(X4, PSRLW, PSLLW, 15, 16)
	ADDQ $16, SI
	ADDQ $16, R8
	ADDQ $32, DI
	DECQ DX
	JNZ  loop
	RET

// func sum16Blocks(dst, base, planes *byte, n, blocks int)
TEXT ·sum16Blocks(SB), NOSPLIT, $0-40
	MOVQ dst+0(FP), DI
	MOVQ base+8(FP), BX
	MOVQ planes+16(FP), SI
	MOVQ n+24(FP), CX
	MOVQ blocks+32(FP), DX
	LEAQ (SI)(CX*1), R8
	PCMPEQL X14, X14
	MOVO X14, X15
	PSLLW $15, X15

loop:
	GATHER16
	SUM(X0, PSRLW, PSLLW, PSRAW, PADDW, 15, 0)
	SUM(X4, PSRLW, PSLLW, PSRAW, PADDW, 15, 16)
	ADDQ $16, SI
	ADDQ $16, R8
	ADDQ $32, BX
	ADDQ $32, DI
	DECQ DX
	JNZ  loop
	RET
