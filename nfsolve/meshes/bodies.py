"""Which way the bodies of a closed surface are turned: their orientations in a file are often mixed.

Where the orientations make sense, they are kept: no point may lie inside bodies of negative orientation more often than
inside others, so that solids may overlap and a cavity is a surface turned inwards. A mesh that makes sense inside out
is turned as a whole. Else geometry decides: a body within an odd number of others is a cavity.
"""

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from nfsolve._core.errors import require

WITHIN = 0.95  # share of a body's triangles inside another one; the rest may lie on its surface


def face_volumes(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Return the signed volumes ``(F,)`` of the tetrahedra over the faces, whose sum the surface encloses."""
    a, b, c = np.moveaxis((vertices - vertices.mean(0))[faces], 1, 0)
    return np.einsum("ij,ij->i", a, np.cross(b, c)) / 6


def turned_outwards(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Turn the bodies of a closed surface so that its winding number is 0 outside of the solid, and positive inside.

    Args:
        vertices: Corners ``(V, 3)``.
        faces: Rows of three vertices ``(F, 3)``, each body of one orientation.

    Returns:
        The faces, those of bodies that were inside out in reverse.

    Raises:
        MissingExtra: libigl is not installed, and one body may lie within another.
    """
    labels = body_labels(faces)
    signs = np.where(np.bincount(labels, face_volumes(vertices, faces)) < 0, -1, 1)
    outward = np.where((signs == -1)[labels, None], faces[:, ::-1], faces)
    within = _within(vertices, outward, labels)
    nested = 1 - 2 * (within @ np.ones(len(signs), int) % 2)
    for wanted in (signs, -signs, nested):
        outside = within @ wanted  # winding number just outside of each body
        if (np.minimum(outside, outside + wanted) >= 0).all():
            break
    return np.where((wanted == -1)[labels, None], outward[:, ::-1], outward)


def body_labels(faces: np.ndarray) -> np.ndarray:
    """Number the connected bodies ``(F,)``; closed ones that touch at an edge of four faces count apart."""
    halves = faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2)
    _, edge, uses = np.unique(np.sort(halves, 1), axis=0, return_inverse=True, return_counts=True)
    edge, face = edge.reshape(-1), np.arange(len(halves)) // 3
    order = np.argsort(edge, kind="stable")
    first, second = (half[edge[order[:-1]] == edge[order[1:]]] for half in (order[:-1], order[1:]))

    def joined(links: np.ndarray) -> np.ndarray:
        pairs = face[first[links]], face[second[links]]
        return connected_components(coo_array((links[links], pairs), shape=(len(faces),) * 2), directed=False)[1]

    simple = uses[edge[first]] == 2
    labels = joined(simple)
    net = coo_array((np.where(halves[:, 0] < halves[:, 1], 1, -1), (edge, labels[face])))
    net.sum_duplicates()
    unpaired = np.isin(edge, net.coords[0][net.data != 0])  # lenses that share their rim are four open discs
    return joined(simple | unpaired[first]) if unpaired.any() else labels


def _within(vertices: np.ndarray, faces: np.ndarray, labels: np.ndarray) -> coo_array:
    """Tell which bodies, turned outwards, lie within which others: ones of a sparse matrix ``(bodies, bodies)``."""
    order = np.argsort(labels, kind="stable")
    starts = np.searchsorted(labels[order], np.arange(labels.max() + 1))
    corners = vertices[faces]
    low, high = np.minimum.reduceat(corners.min(1)[order], starts), np.maximum.reduceat(corners.max(1)[order], starts)
    pairs = [np.zeros((2, 0), int)]
    for outer in range(len(low)):
        boxed = ((low >= low[outer]) & (high <= high[outer])).all(1)
        boxed[outer] = False
        if not boxed.any():
            continue
        igl = require("igl", extra="mesh", purpose="a mesh of bodies within each other")
        inner, shell = np.flatnonzero(boxed[labels]), np.ascontiguousarray(faces[labels == outer])
        winding = igl.fast_winding_number(np.ascontiguousarray(vertices), shell, corners[inner].mean(1))
        inside, all_of_it = (np.bincount(labels[inner], w, len(low)) for w in (winding > 0.5, None))
        found = np.flatnonzero(boxed & (inside >= WITHIN * all_of_it))
        pairs.append(np.stack([found, np.full_like(found, outer)]))
    rows, columns = np.concatenate(pairs, 1)
    return coo_array((np.ones(len(rows), int), (rows, columns)), shape=(len(low),) * 2)
