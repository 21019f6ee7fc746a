"""Console logs as each generation prints them, written out with their colours, bars and line ends."""

# ruff: noqa: E501 - the lines are as long as the programs print them

from __future__ import annotations

ULTRALYTICS_8_0 = (
    "Ultralytics YOLOv8.0.20 🚀 Python-3.8.10 torch-1.13.1+cu116 CUDA:0 (Tesla T4, 15110MiB)\n"
    "\x1b[34m\x1b[1myolo/engine/trainer: \x1b[0mtask=detect, mode=train, model=yolov8n.pt, data=data.yaml, epochs=50, "
    "patience=10, batch=-1, imgsz=640, save=True, optimizer=SGD, resume=False, lr0=0.01, save_dir=runs/detect/train\n"
    "Transferred 319/355 items from pretrained weights\n"
    "\x1b[34m\x1b[1mAutoBatch: \x1b[0mComputing optimal batch size for imgsz=640\n"
    "\x1b[34m\x1b[1mAutoBatch: \x1b[0mCUDA:0 (Tesla T4) 14.76G total, 0.14G reserved, 14.55G free\n"
    "\x1b[34m\x1b[1mAutoBatch: \x1b[0mUsing batch-size 41 for CUDA:0 10.31G/14.76G (70%) ✅\n"
    "\x1b[34m\x1b[1moptimizer:\x1b[0m SGD(lr=0.01) with parameter groups 57 weight(decay=0.0), "
    "64 weight(decay=0.0005), 63 bias\n"
    "\x1b[34m\x1b[1mtrain: \x1b[0mScanning /data/train/labels...:   0%|          | 0/120 [00:00<?, ?it/s]\r"
    "\x1b[34m\x1b[1mtrain: \x1b[0mScanning /data/train/labels... 60 images, 2 backgrounds, 0 corrupt:  50%|#####     |\r"
    "\x1b[34m\x1b[1mtrain: \x1b[0mScanning /data/train/labels... 117 images, 5 backgrounds, 3 corrupt: 100%|##########|\n"
    "\x1b[34m\x1b[1mval: \x1b[0mScanning /data/valid/labels.cache... 30 images, 0 backgrounds, 0 corrupt: 100%|###|\n"
    "Image sizes 640 train, 640 val\nUsing 2 dataloader workers\n"
    "Logging results to \x1b[1mruns/detect/train\x1b[0m\nStarting training for 50 epochs...\n\n"
    "      Epoch    GPU_mem   box_loss   cls_loss   dfl_loss  Instances       Size\n"
    "       1/50      6.81G      1.511      3.279      1.402         14        640: 100%|##########| 3/3\n"
    "       2/50      7.25G        nan        nan        nan         14        640: 100%|##########| 3/3\n"
    "                 Class     Images  Instances      Box(P          R      mAP50  mAP50-95):  50%|#####     | 1/2"
    "WARNING ⚠️ NMS time limit 1.800s exceeded\n"
    "      30/50      7.25G      1.100      2.100      1.200         14        640: 100%|##########| 3/3\n"
    "Stopping training early as no improvement observed in last 10 epochs. Best results observed at epoch 20, best "
    "model saved as best.pt.\n\n30 epochs completed in 0.126 hours.\n"
)

ULTRALYTICS_8_3 = (
    "New https://pypi.org/project/ultralytics/8.3.70 available 😃 Update with 'pip install -U ultralytics'\r\n"
    "Ultralytics 8.3.62 🚀 Python-3.8.13 torch-2.0.0+cu117 CUDA:0 (NVIDIA GeForce GTX 1660 Ti, 6144MiB)\r\n"
    "                                                       CUDA:1 (NVIDIA GeForce RTX 3090, 24260MiB)\r\n"
    "engine/trainer: task=segment, mode=train, model=yolo11n-seg.pt, data=data.yaml, epochs=100, time=None, batch=16, "
    "imgsz=640, device=[0, 1], amp=True, optimizer=auto, resume=None, save_dir=runs/segment/train2\r\n"
    "Overriding model.yaml nc=80 with nc=3\r\n"
    "Transferred 510/561 items from pretrained weights\r\n"
    "AMP: running Automatic Mixed Precision (AMP) checks...\r\n"
    "AMP: checks failed ❌. AMP training on NVIDIA GeForce GTX 1660 Ti GPU may cause NaN losses or zero-mAP results, "
    "so AMP will be disabled during training.\r\n"
    "train: Scanning C:\\data\\labels\\train... 900 images, 11 backgrounds, 2 corrupt: 100%|██████████| 902/902\r\n"
    "WARNING ⚠️ no labels found in segment set, can not compute metrics without labels\r\n"
    "optimizer: 'optimizer=auto' found, ignoring 'lr0=0.01' and 'momentum=0.937' and determining best 'optimizer', "
    "'lr0' and 'momentum' automatically... \r\n"
    "optimizer: AdamW(lr=0.001429, momentum=0.9) with parameter groups 90 weight(decay=0.0), 101 weight(decay=0.0005), "
    "100 bias(decay=0.0)\r\n"
    "Logging results to runs\\segment\\train2\r\nStarting training for 100 epochs...\r\n"
    "      1/100      3.97G      1.511      3.279      1.402      1.402         14        640:   4%|4         | 2/56\r\n"
    "Traceback (most recent call last):\r\n"
    '  File "train.py", line 3, in <module>\r\n    model.train(data="data.yaml")\r\n'
    "torch.cuda.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB (GPU 0; 6.00 GiB total capacity)\r\n"
)

ULTRALYTICS_8_4 = (
    "Ultralytics 8.4.130 🚀 Python-3.13.15 torch-2.11.0+cu128 CUDA:0 (Tesla T4, 14913MiB)\n"
    "engine/trainer: agnostic_nms=False, amp=True, batch=64, classes=None, data=/content/data.yaml, epochs=3, "
    "imgsz=1280, optimizer=auto, resume=False, save_dir=/content/runs/detect/train4, scale=0.5\n"
    "AMP: checks passed ✅\n"
    "train: Scanning /content/train/labels... 400 images, 20 backgrounds, 0 corrupt: 100% ━━━━━━━━━━━━ 400/400 2.1Kit/s\n"
    "Using 400 train, 100 val images for fraction=1.0 at imgsz=1280\n"
    "Using 8 dataloader workers\nLogging results to /content/runs/detect/train4\nStarting training for 3 epochs...\n"
    "\x1b[K        1/3      14.1G      1.403      2.279      0.020         31       1280: 2% ──────────── 1/50 0.2it/s 5.0s\n"
    "WARNING ⚠️ CUDA out of memory with batch=64. Reducing to batch=32 and retrying (1/3).\n"
    "optimizer: 'optimizer=auto' found, ignoring 'lr0=0.01' and determining best 'optimizer' and 'lr0' automatically... \n"
    "optimizer: MuSGD(lr=0.01, momentum=0.9) with parameter groups 57 weight(decay=0.0), 64 weight(decay=0.0005), "
    "63 bias(decay=0.0)\n"
    "        1/3      9.02G      1.403      2.279      0.020         31       1280: 100% ━━━━━━━━━━━━ 13/13 1.1it/s\n"
    "WARNING ⚠️ Loss NaN/Inf detected (attempt 1/3), recovering from last.pt...\n"
    "        2/3       800M      1.403      2.279      0.020         31       1280: 100% ━━━━━━━━━━━━ 13/13 1.1it/s\n"
    "Killed\n"
)

YOLOV5_6 = (
    "\x1b[34m\x1b[1mtrain: \x1b[0mweights=yolov5s.pt, cfg=, data=data/coco128.yaml, hyp=data/hyps/hyp.scratch-low.yaml, "
    "epochs=3, batch_size=16, imgsz=640, rect=False, resume=False, freeze=[0], save_period=-1\n"
    "\x1b[34m\x1b[1mgithub: \x1b[0mup to date with https://github.com/ultralytics/yolov5 ✅\n"
    "YOLOv5 🚀 v6.1-172-ge305aba torch 1.11.0+cu113 CUDA:6 (A100-SXM4-40GB, 40537MiB)\n\n"
    "Transferred 349/349 items from yolov5s.pt\n"
    "optimizer: SGD with parameter groups 57 weight (no decay), 60 weight, 60 bias\n"
    "train: Scanning '/data/coco128/labels/train2017.cache' images and labels... 128 found, 0 missing, 2 empty, 1 corrupt: "
    "100%|██████████| 128/128\n"
    "val: Scanning '/data/coco128/labels/val.cache' images and labels... 30 found, 4 missing, 1 empty, 0 corrupt: 100%|█\n"
    "Image sizes 640 train, 640 val\nLogging results to runs/train/exp\nStarting training for 3 epochs...\n\n"
    "     Epoch   gpu_mem       box       obj       cls    labels  img_size\n"
    "       0/2     3.72G   0.04609    0.0743    0.0196       113       640: 100%|██████████| 8/8\n"
    "       2/2      5.1G   0.04609    0.0743    0.0196       113       640: 100%|██████████| 8/8\n\n"
    "3 epochs completed in 0.004 hours.\n"
)

YOLOV9 = (
    "train_dual: weights=yolov9-c.pt, cfg=models/detect/yolov9-c.yaml, epochs=100, batch_size=16, resume=False\n"
    "YOLO 🚀 v0.1-104-g5b1ea9a Python-3.10.12 torch-2.2.1+cu121 CUDA:0 (Tesla T4, 15102MiB)\n"
    "AMP: checks passed ✅\n"
    "optimizer: SGD(lr=0.01) with parameter groups 238 weight(decay=0.0), 255 weight(decay=0.0005), 253 bias\n"
    "train: Scanning /data/train/labels... 90 images, 1 backgrounds, 0 corrupt: 100%|███\n"
    "Starting training for 100 epochs...\n"
    "RuntimeError: CUDA error: device-side assert triggered\n"
)
