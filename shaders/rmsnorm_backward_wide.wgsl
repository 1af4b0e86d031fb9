// The gradient of RMSNorm as in rmsnorm.wgsl, for rows of up to 256·U elements, a multiple of 4: four teams of 64
// invocations process a row each, which stays in registers, as does the stripe's part of dw.

struct Params { n: u32, c: u32, g: u32, accumulate: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> dy: array<vec4<${ACT}>>;
@group(0) @binding(2) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> w: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> rstd: array<f32>;
@group(0) @binding(5) var<storage, read_write> dx: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read_write> partials: array<vec4<f32>>;
#ifdef HALF
// dx in f16, for products.
@group(0) @binding(7) var<storage, read_write> narrow: array<vec4<f16>>;
#endif

var<workgroup> parts: array<f32, 256>;
var<workgroup> sums: array<f32, 32>;
var<workgroup> shares: array<vec4<f32>, 256>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let team = lane / 64u;
    let c4 = p.c / 4u;
#for u in 0..${U}
    let at${u} = lane % 64u + ${u}u * 64u;
    var w${u} = vec4<f32>(0.0);
    var share${u} = vec4<f32>(0.0);
    if at${u} < c4 {
        w${u} = w[at${u}];
    }
#endfor
    for (var start = wg.x; start < p.n; start += 4u * p.g) {
        let row = start + team * p.g;
        let first = row * c4;
        let inside = row < p.n;
        var part = 0.0;
#for u in 0..${U}
        var up${u} = vec4<f32>(0.0);
        var v${u} = vec4<f32>(0.0);
        if inside && at${u} < c4 {
            up${u} = vec4<f32>(dy[first + at${u}]);
            v${u} = x[first + at${u}];
        }
        part += dot(up${u} * w${u}, v${u});
#endfor
        parts[lane] = part;
        workgroupBarrier();
        if lane < 32u {
            var sum = 0.0;
#for j in 0..8
            sum += parts[lane * 8u + ${j}u];
#endfor
            sums[lane] = sum;
        }
        workgroupBarrier();
        var total = 0.0;
#for j in 0..8
        total += sums[team * 8u + ${j}u];
#endfor
        if inside {
            let r = rstd[row];
            let pull = r * r * r * (total / f32(p.c));
#for u in 0..${U}
            share${u} += up${u} * v${u} * r;
            if at${u} < c4 {
                var d = up${u} * w${u} * r - v${u} * pull;
                if p.accumulate == 1u {
                    d += dx[first + at${u}];
                }
                dx[first + at${u}] = d;
#ifdef HALF
                narrow[first + at${u}] = vec4<f16>(d);
#endif
            }
#endfor
        }
    }
#for u in 0..${U}
    workgroupBarrier();
    shares[lane] = share${u};
    workgroupBarrier();
    if team == 0u && at${u} < c4 {
        partials[wg.x * c4 + at${u}] = shares[lane] + shares[lane + 64u] + shares[lane + 128u] + shares[lane + 192u];
    }
#endfor
}
